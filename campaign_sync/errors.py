"""The root of all errors that the product raises itself, and their tree.

```text
CampaignSyncError
    AdapterError
    ApprovalError
    ChannelError
    CommandError
    ConfigurationError
    ConnectionDroppedError
    CrmError  [retryable]
        CrmSetupError
            UnusableUrlError
    CrmExportError
    DatabaseUrlError
    DeliveredFilesError
        FileAccessError
        FileLoginError
        FileSourceError
        UnreachableFilesError  [retryable]
            UnsettledFileError  [retryable]
    ErasureKeyError
    FetchXmlError
    FileStorageError
        LostFileError
        UnsearchableError
    HeartbeatError
    IncompleteListError
    InquiryError
        FutureDayError
        InvalidPersonError
        NothingToCompareError
        UnknownPersonError
    InvalidAddressError
    LayoutError
    ListLockLostError  [retryable]
    ListLockedError  [retryable]
    MandatorTickError
    NoAnswerError
    NotSoapError
        HostileXmlError
    OptimizelyError
        CredentialsError
        ForeignListError
        RefusedError
        SessionExpiredError  [retryable]
        TransientError  [retryable]
        UnknownFaultError  [retryable]
        UnreadableAnswerError
        UnsendableError
    ReplacementRefusedError
    RetentionAlarmError
    SoapError
    StateError  [retryable]
        RevisionError
    SubmissionError
    UnavailableError
    UnexpectedShapeError
    UnprovenError  [retryable]
        NotClearedError  [retryable]
```

After those marked as retryable, the same work may well succeed if it is begun again later.
`ReplacementRefusedError` and `IncompleteListError` say so one by one.
"""


class CampaignSyncError(Exception):
    """An error of our own. Its message says what is wrong and what helps, and never quotes personal data.

    `retryable` says whether the same work, begun again later, may well succeed.
    """

    retryable: bool = False

    @property
    def message(self) -> str:
        """What it was raised with: a `Message` where that can be translated."""
        return self.args[0] if self.args and isinstance(self.args[0], str) else str(self)
