"""The routes as shipped, whatever `routes.json` is now.

`routes.json` is the user's to change. A test that needs certain routes reads this copy.
"""

from pathlib import Path

from shared.core import routing

SHIPPED_ROUTES = Path(__file__).parent.parent / "routes" / "shipped.json"


def use_shipped_routes() -> None:
    """Makes the app in this process load the copy."""
    routing.ROUTES_FILE = SHIPPED_ROUTES
