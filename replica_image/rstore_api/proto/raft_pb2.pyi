from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RaftFrame(_message.Message):
    __slots__ = ("hello", "envelopes")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    ENVELOPES_FIELD_NUMBER: _ClassVar[int]
    hello: RaftHello
    envelopes: _containers.RepeatedCompositeFieldContainer[RaftEnvelope]
    def __init__(self, hello: _Optional[_Union[RaftHello, _Mapping]] = ..., envelopes: _Optional[_Iterable[_Union[RaftEnvelope, _Mapping]]] = ...) -> None: ...

class RaftHello(_message.Message):
    __slots__ = ("group", "name", "session")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    group: str
    name: str
    session: int
    def __init__(self, group: _Optional[str] = ..., name: _Optional[str] = ..., session: _Optional[int] = ...) -> None: ...

class RaftEnvelope(_message.Message):
    __slots__ = ("term", "from_session", "to_session", "from_identity", "to_identity", "leaving", "released", "feature_level", "start", "append", "append_reply", "round_reply", "vote", "vote_reply", "pre_vote", "pre_vote_reply", "timeout_now", "checkpoint_chunk", "checkpoint_reply", "presence", "standings")
    TERM_FIELD_NUMBER: _ClassVar[int]
    FROM_SESSION_FIELD_NUMBER: _ClassVar[int]
    TO_SESSION_FIELD_NUMBER: _ClassVar[int]
    FROM_IDENTITY_FIELD_NUMBER: _ClassVar[int]
    TO_IDENTITY_FIELD_NUMBER: _ClassVar[int]
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    RELEASED_FIELD_NUMBER: _ClassVar[int]
    FEATURE_LEVEL_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    APPEND_FIELD_NUMBER: _ClassVar[int]
    APPEND_REPLY_FIELD_NUMBER: _ClassVar[int]
    ROUND_REPLY_FIELD_NUMBER: _ClassVar[int]
    VOTE_FIELD_NUMBER: _ClassVar[int]
    VOTE_REPLY_FIELD_NUMBER: _ClassVar[int]
    PRE_VOTE_FIELD_NUMBER: _ClassVar[int]
    PRE_VOTE_REPLY_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_NOW_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_CHUNK_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_REPLY_FIELD_NUMBER: _ClassVar[int]
    PRESENCE_FIELD_NUMBER: _ClassVar[int]
    STANDINGS_FIELD_NUMBER: _ClassVar[int]
    term: int
    from_session: int
    to_session: int
    from_identity: int
    to_identity: int
    leaving: bool
    released: bool
    feature_level: int
    start: RaftStanding
    append: RaftAppend
    append_reply: RaftAppendReply
    round_reply: RaftRoundReply
    vote: RaftVote
    vote_reply: RaftVoteReply
    pre_vote: RaftPreVote
    pre_vote_reply: RaftPreVoteReply
    timeout_now: RaftTimeoutNow
    checkpoint_chunk: RaftCheckpointChunk
    checkpoint_reply: RaftCheckpointReply
    presence: RaftPresence
    standings: RaftStandings
    def __init__(self, term: _Optional[int] = ..., from_session: _Optional[int] = ..., to_session: _Optional[int] = ..., from_identity: _Optional[int] = ..., to_identity: _Optional[int] = ..., leaving: _Optional[bool] = ..., released: _Optional[bool] = ..., feature_level: _Optional[int] = ..., start: _Optional[_Union[RaftStanding, _Mapping]] = ..., append: _Optional[_Union[RaftAppend, _Mapping]] = ..., append_reply: _Optional[_Union[RaftAppendReply, _Mapping]] = ..., round_reply: _Optional[_Union[RaftRoundReply, _Mapping]] = ..., vote: _Optional[_Union[RaftVote, _Mapping]] = ..., vote_reply: _Optional[_Union[RaftVoteReply, _Mapping]] = ..., pre_vote: _Optional[_Union[RaftPreVote, _Mapping]] = ..., pre_vote_reply: _Optional[_Union[RaftPreVoteReply, _Mapping]] = ..., timeout_now: _Optional[_Union[RaftTimeoutNow, _Mapping]] = ..., checkpoint_chunk: _Optional[_Union[RaftCheckpointChunk, _Mapping]] = ..., checkpoint_reply: _Optional[_Union[RaftCheckpointReply, _Mapping]] = ..., presence: _Optional[_Union[RaftPresence, _Mapping]] = ..., standings: _Optional[_Union[RaftStandings, _Mapping]] = ...) -> None: ...

class RaftLogEntry(_message.Message):
    __slots__ = ("term", "command")
    TERM_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    term: int
    command: bytes
    def __init__(self, term: _Optional[int] = ..., command: _Optional[bytes] = ...) -> None: ...

class RaftAppend(_message.Message):
    __slots__ = ("prev_index", "prev_term", "commit_index", "entries", "round")
    PREV_INDEX_FIELD_NUMBER: _ClassVar[int]
    PREV_TERM_FIELD_NUMBER: _ClassVar[int]
    COMMIT_INDEX_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    prev_index: int
    prev_term: int
    commit_index: int
    entries: _containers.RepeatedCompositeFieldContainer[RaftLogEntry]
    round: int
    def __init__(self, prev_index: _Optional[int] = ..., prev_term: _Optional[int] = ..., commit_index: _Optional[int] = ..., entries: _Optional[_Iterable[_Union[RaftLogEntry, _Mapping]]] = ..., round: _Optional[int] = ...) -> None: ...

class RaftAppendReply(_message.Message):
    __slots__ = ("next_index", "success", "reset")
    NEXT_INDEX_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    RESET_FIELD_NUMBER: _ClassVar[int]
    next_index: int
    success: bool
    reset: bool
    def __init__(self, next_index: _Optional[int] = ..., success: _Optional[bool] = ..., reset: _Optional[bool] = ...) -> None: ...

class RaftRoundReply(_message.Message):
    __slots__ = ("round",)
    ROUND_FIELD_NUMBER: _ClassVar[int]
    round: int
    def __init__(self, round: _Optional[int] = ...) -> None: ...

class RaftVote(_message.Message):
    __slots__ = ("last_index", "last_term", "forced")
    LAST_INDEX_FIELD_NUMBER: _ClassVar[int]
    LAST_TERM_FIELD_NUMBER: _ClassVar[int]
    FORCED_FIELD_NUMBER: _ClassVar[int]
    last_index: int
    last_term: int
    forced: bool
    def __init__(self, last_index: _Optional[int] = ..., last_term: _Optional[int] = ..., forced: _Optional[bool] = ...) -> None: ...

class RaftVoteReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RaftPreVote(_message.Message):
    __slots__ = ("round", "next_term", "last_index", "last_term")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    NEXT_TERM_FIELD_NUMBER: _ClassVar[int]
    LAST_INDEX_FIELD_NUMBER: _ClassVar[int]
    LAST_TERM_FIELD_NUMBER: _ClassVar[int]
    round: int
    next_term: int
    last_index: int
    last_term: int
    def __init__(self, round: _Optional[int] = ..., next_term: _Optional[int] = ..., last_index: _Optional[int] = ..., last_term: _Optional[int] = ...) -> None: ...

class RaftPreVoteReply(_message.Message):
    __slots__ = ("round", "granted")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    round: int
    granted: bool
    def __init__(self, round: _Optional[int] = ..., granted: _Optional[bool] = ...) -> None: ...

class RaftTimeoutNow(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RaftPresence(_message.Message):
    __slots__ = ("pristine", "reply")
    PRISTINE_FIELD_NUMBER: _ClassVar[int]
    REPLY_FIELD_NUMBER: _ClassVar[int]
    pristine: bool
    reply: bool
    def __init__(self, pristine: _Optional[bool] = ..., reply: _Optional[bool] = ...) -> None: ...

class RaftStanding(_message.Message):
    __slots__ = ("name", "identity", "process", "term", "index", "voted_for")
    NAME_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    VOTED_FOR_FIELD_NUMBER: _ClassVar[int]
    name: str
    identity: int
    process: int
    term: int
    index: int
    voted_for: str
    def __init__(self, name: _Optional[str] = ..., identity: _Optional[int] = ..., process: _Optional[int] = ..., term: _Optional[int] = ..., index: _Optional[int] = ..., voted_for: _Optional[str] = ...) -> None: ...

class RaftStandings(_message.Message):
    __slots__ = ("standings",)
    STANDINGS_FIELD_NUMBER: _ClassVar[int]
    standings: _containers.RepeatedCompositeFieldContainer[RaftStanding]
    def __init__(self, standings: _Optional[_Iterable[_Union[RaftStanding, _Mapping]]] = ...) -> None: ...

class RaftCheckpointChunk(_message.Message):
    __slots__ = ("transfer", "sequence", "manifest", "file", "offset", "data", "last")
    TRANSFER_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    transfer: int
    sequence: int
    manifest: bytes
    file: str
    offset: int
    data: bytes
    last: bool
    def __init__(self, transfer: _Optional[int] = ..., sequence: _Optional[int] = ..., manifest: _Optional[bytes] = ..., file: _Optional[str] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ..., last: _Optional[bool] = ...) -> None: ...

class RaftCheckpointReply(_message.Message):
    __slots__ = ("transfer", "sequence", "accepted", "installed", "next_index", "message")
    TRANSFER_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    INSTALLED_FIELD_NUMBER: _ClassVar[int]
    NEXT_INDEX_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    transfer: int
    sequence: int
    accepted: bool
    installed: bool
    next_index: int
    message: str
    def __init__(self, transfer: _Optional[int] = ..., sequence: _Optional[int] = ..., accepted: _Optional[bool] = ..., installed: _Optional[bool] = ..., next_index: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...
