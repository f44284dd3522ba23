"""The table of actions: names, CloudEvents types and subject templates."""

from shared.core.actions import Action, actions, event_actions


def test_ping_alone_raises_no_event() -> None:
    """Every action of the table except ping raises an event, in the table's order."""
    assert event_actions() == [name for name in actions() if name != "ping"]
    assert event_actions()[0] == "push"
    assert actions()["ping"] == Action("ping", None, ())


def test_action_has_type_and_subject_templates() -> None:
    """An action has its name, its CloudEvents type and its subject's templates."""
    assert actions()["push"] == Action(
        "push",
        "Microsoft.ContainerRegistry.ImagePushed",
        ("{repository}:{tag}", "{repository}@{digest}"),
    )
