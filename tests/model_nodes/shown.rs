//! Where the want of each rule shows, and which rules nobody needs.

use super::rules::Rule;
use super::state::{
    DISORDER, GIVEN_UP, STALE, STALE_304, STALE_ERROR, STALE_JOIN, STALE_LOOK, STALE_SHARED, STUCK,
};

pub(crate) enum Shown {
    /// In this scenario a promise is broken.
    In(&'static str),
    /// Nothing stale is served, but some walk does not recover.
    Stuck,
    /// No promise is broken, for this reason.
    Needless(&'static str),
}

impl Rule {
    pub(crate) fn shown(self) -> Shown {
        use Shown::{In, Needless, Stuck};
        match self {
            Self::IncarnationChecked | Self::WaitsAfterBirth | Self::BaseAbove | Self::FloorAtBase => {
                In("restart")
            }
            Self::HistoryInIncarnation | Self::BornAgain | Self::AcknowledgedInOneIncarnation => {
                In("restore")
            }
            Self::RecordAtCursor | Self::DivergedIsReborn => In("masked"),
            Self::Contiguous | Self::ReachesTheEnd => In("stream, two purges"),
            Self::ReadProves
            | Self::ProofFromSend
            | Self::AppliedBeforeProof
            | Self::LeaseOutlivesProof
            | Self::ReadRenews
            | Self::WaitsForAll
            | Self::BegunBeforeTheOrigin
            | Self::NothingWithoutProof
            | Self::NewFillsWithoutProof
            | Self::NoValidationWithoutProof
            | Self::PurgedIsNotValidated
            | Self::NoStandInWithoutProof => In("partition"),
            Self::WaitOnRead => In("failover"),
            Self::WaitOnAppend => In("failover, fills"),
            Self::LeaseAtStart => Needless("START proves nothing; the first READ begins the lease"),
            Self::OwnApplied => Needless("the own node is in the table of nodes like any other"),
            Self::AppendExpects => Needless("the answer names the incarnation"),
            Self::KnownIds => Needless("two records purge what one does"),
            Self::BehindIsSaid => Needless("the gap is seen; but a gap gives the log a new id"),
            Self::BegunInSharedEntry | Self::SharedTickets => In("shared"),
            Self::EntriesOfOneIncarnation => In("flush, shared"),
            Self::OldEpochIsNotShared => In("flush, shared, fills"),
            Self::ProofLoadedFirst => In("reader"),
            Self::ProvisionalLoadedFirst
            | Self::Provisional
            | Self::ProvisionalUntilApplied
            | Self::ChecksSeeProvisional => In("write, reader"),
            Self::JoinsSeeProvisional => In("write"),
            Self::ProvisionalByNumber | Self::QueuedUntilApplied => Stuck,
            Self::TrimsBehindCursors | Self::FloorAfterGap => In("trim 2"),
            Self::FloorAtStart => In("trim"),
            Self::FirstEpochIsAbove => In("flush at start, fills"),
            Self::NodesInState => In("nodes"),
            Self::ClocksAreNotSet => In("clock"),
        }
    }

    /// Whether this is a promise that is broken without it.
    pub(crate) fn breaks(self, promise: &str) -> bool {
        match self {
            Self::SharedTickets => promise == DISORDER,
            Self::TrimsBehindCursors => promise == GIVEN_UP,
            Self::NoStandInWithoutProof => promise == STALE_ERROR,
            Self::NoValidationWithoutProof | Self::PurgedIsNotValidated => {
                [STALE, STALE_JOIN, STALE_304].contains(&promise)
            }
            Self::ProofLoadedFirst | Self::ProvisionalLoadedFirst => promise == STALE_LOOK,
            _ => [STALE, STALE_SHARED, STALE_JOIN].contains(&promise),
        }
    }
}

/// What a walk that does not recover breaks.
pub(crate) fn is_stuck(promise: &str) -> bool {
    promise == STUCK
}
