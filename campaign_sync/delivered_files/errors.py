"""The errors of delivered files. No message holds personal data or a credential.

```
DeliveredFilesError
├── FileLoginError          correct the user, password or key file
├── FileAccessError         ask the server's operator for the missing permission
├── FileSourceError         the file source, or a file in it, is unusable
└── UnreachableFilesError   try again later
    └── UnsettledFileError  a delivered file is still being written
```
"""

from campaign_sync.errors import CampaignSyncError


class DeliveredFilesError(CampaignSyncError):
    """Delivered files can't be listed, read or written."""


class FileLoginError(DeliveredFilesError):
    """The server rejects the user, or the credentials can't be used."""


class FileAccessError(DeliveredFilesError):
    """The server or file system refuses something. A retry changes nothing."""


class FileSourceError(DeliveredFilesError):
    """A file source, or a file delivered to it, is unusable. A retry changes nothing."""


class UnreachableFilesError(DeliveredFilesError):
    """The network, the server or the disk failed temporarily; a later attempt may succeed."""

    retryable = True


class UnsettledFileError(UnreachableFilesError):
    """A delivered file was removed or changed since it was listed; it is probably still being written."""
