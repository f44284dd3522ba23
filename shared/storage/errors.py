"""Failures of Storage, in texts that show neither the name of the account nor a key."""

import re

from azure.core.exceptions import AzureError, HttpResponseError, ServiceResponseTimeoutError
from azure.core.rest import AsyncHttpResponse

from shared.core.text import quoted
from shared.storage.credentials import TokenUnavailable
from shared.storage.transport import ResponseRefused

# Storage's error code for an identity that it knows, but that no role allows the operation.
# https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes
_DENIED = "AuthorizationPermissionMismatch"

# What a message shows of a server's words as it is. Anything else is quoted.
_PLAIN = re.compile(r"[A-Za-z0-9 .,'-]{1,80}")

# https://learn.microsoft.com/rest/api/storageservices/queue-service-error-codes
QUEUE_NOT_FOUND = "QueueNotFound"
QUEUE_ALREADY_EXISTS = "QueueAlreadyExists"


class StorageUnavailable(Exception):
    """Storage did not complete a request for `queue` in time. The message says why."""

    def __init__(self, queue: str, error: Exception) -> None:
        super().__init__(f"{queue}: {reason(error)}")
        self.queue = queue


class MayNotCreate(Exception):
    """The queue is missing, and no role of the identity allows creating it."""


class _ServiceError(HttpResponseError):
    """An error response, with Storage's own code as the SDK's errors have it."""

    def __init__(self, response: AsyncHttpResponse) -> None:
        super().__init__(response=response)
        # https://learn.microsoft.com/rest/api/storageservices/status-and-error-codes2
        self.error_code = response.headers.get("x-ms-error-code")


def failure(response: AsyncHttpResponse) -> HttpResponseError:
    """The error for a response that reports one."""
    return _ServiceError(response)


def is_retryable(error: Exception) -> bool:
    """Whether another try may succeed: not where Storage refused the request itself."""
    if isinstance(error, MayNotCreate):
        return False
    if isinstance(error, ResponseRefused):
        status: int | None = error.status
    else:
        status = error.status_code if isinstance(error, HttpResponseError) else None
    return status is None or status in (404, 408, 409, 429) or status >= 500


def is_missing(error: Exception) -> bool:
    """Whether Storage reports a missing queue. Other servers respond 404 as well."""
    return isinstance(error, HttpResponseError) and error_code(error) == QUEUE_NOT_FOUND


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
        words = error_code(error) or error.reason or ""
        return f"Storage responded {error.status_code} {_shown(words)}".strip()
    if isinstance(error, ResponseRefused):
        return f"Storage did not respond as it should: {error}"
    if isinstance(error, TimeoutError | ServiceResponseTimeoutError):
        return "Storage did not respond in time"
    if isinstance(error, AzureError | OSError):
        return "Storage cannot be reached"
    return f"the SDK failed on Storage's response ({type(error).__name__})"


def _shown(words: str) -> str:
    """`words`, an error code or a reason phrase from outside, in a form that can forge nothing."""
    return words if _PLAIN.fullmatch(words) else quoted(words)
