"""Failures of Storage, in texts that show neither the name of the account nor a key."""

from azure.core.exceptions import AzureError, HttpResponseError, ServiceResponseTimeoutError
from azure.storage.queue import StorageErrorCode

from shared.storage.credentials import TokenUnavailable

# Storage's error code for an identity that it knows, but that no role allows the operation.
# https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes
_DENIED = "AuthorizationPermissionMismatch"


class StorageUnavailable(Exception):
    """Storage did not complete a request for `queue` in time. The message says why."""

    def __init__(self, queue: str, error: Exception) -> None:
        super().__init__(f"{queue}: {reason(error)}")
        self.queue = queue


class MayNotCreate(Exception):
    """The queue is missing, and no role of the identity allows creating it."""


def is_retryable(error: Exception) -> bool:
    """Whether another try may succeed: not where Storage refused the request itself."""
    if isinstance(error, MayNotCreate):
        return False
    if not isinstance(error, HttpResponseError) or error.status_code is None:
        return True
    return error.status_code in (404, 408, 409, 429) or error.status_code >= 500


def is_missing(error: Exception) -> bool:
    """Whether Storage reports a missing queue. Other servers respond 404 as well."""
    return (
        isinstance(error, HttpResponseError)
        and error_code(error) == StorageErrorCode.QUEUE_NOT_FOUND
    )


def is_denied(error: Exception) -> bool:
    """Whether Storage knows the identity, but does not allow it the operation."""
    return isinstance(error, HttpResponseError) and error_code(error) == _DENIED


def error_code(error: HttpResponseError) -> str | None:
    """Storage's own code. The SDK sets it, although its types do not declare it."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code)) if code else None


def reason(error: Exception) -> str:
    """Why a request to Storage failed."""
    if isinstance(error, MayNotCreate):
        return (
            "there is no such queue, and the app may not create it: create it, or give the "
            "app's identity the role Storage Queue Data Contributor"
        )
    if is_denied(error):
        # https://learn.microsoft.com/azure/storage/queues/authorize-access-azure-active-directory
        return (
            "Storage does not allow it: an identity needs the role Storage Queue Data Message "
            "Sender to send, Storage Queue Data Reader to look at messages, Storage Queue Data "
            "Contributor to take them (a new assignment can take 30 minutes)"
        )
    if isinstance(error, TokenUnavailable):
        return str(error)
    if isinstance(error, HttpResponseError) and error.status_code is not None:
        return f"Storage responded {error.status_code} {error_code(error) or error.reason}"
    if isinstance(error, TimeoutError | ServiceResponseTimeoutError):
        return "Storage did not respond in time"
    if isinstance(error, AzureError | OSError):
        return "Storage cannot be reached"
    return f"the SDK failed on Storage's response ({type(error).__name__})"
