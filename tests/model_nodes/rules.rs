//! The rules of the protocol, each of which can be left out.

macro_rules! rules {
    ($($(#[doc = $text:literal])+ $name:ident),+ $(,)?) => {
        /// A rule of the protocol.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Rule { $($(#[doc = $text])+ $name),+ }

        impl Rule {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name),+];
        }
    };
}

rules! {
    /// Another incarnation is noticed, and all that began before counts as purged.
    IncarnationChecked,
    /// The id of the server's history is part of the incarnation.
    HistoryInIncarnation,
    /// READ looks whether the record at the cursor is the one that the node applied.
    RecordAtCursor,
    /// A node that diverged, or found a gap, has START give the log a new id.
    DivergedIsReborn,
    /// A node looks whether the records that came have all numbers.
    Contiguous,
    /// A READ proves something only if it reached the log's last number.
    ReachesTheEnd,
    /// The read itself is the proof, not a ping.
    ReadProves,
    /// Proof counts from the send, not from the reply.
    ProofFromSend,
    /// Proof holds only after the records are applied.
    AppliedBeforeProof,
    /// The lease outlives the proof.
    LeaseOutlivesProof,
    /// START begins the lease.
    LeaseAtStart,
    /// A read renews the lease in the same step.
    ReadRenews,
    /// No acknowledgement within a lease of the log's birth.
    WaitsAfterBirth,
    /// A log that finds itself in another history is born anew: its id, its age, and no leases.
    BornAgain,
    /// Where a replica exists, WAIT confirms a renewal before it proves anything.
    WaitOnRead,
    /// Where a replica exists, WAIT confirms a record before it counts as logged.
    WaitOnAppend,
    /// A purge waits until its own follower has applied it.
    OwnApplied,
    /// A purge waits for each node with a live lease.
    WaitsForAll,
    /// An acknowledgement compares positions of one incarnation only.
    AcknowledgedInOneIncarnation,
    /// APPEND names the incarnation that it means.
    AppendExpects,
    /// A record id that is known gets its old number.
    KnownIds,
    /// A fill loads its position before it asks the origin.
    BegunBeforeTheOrigin,
    /// A shared entry keeps the position at which it began.
    BegunInSharedEntry,
    /// A shared entry of another incarnation is ignored.
    EntriesOfOneIncarnation,
    /// A response that began in an earlier epoch is not put into the shared store.
    OldEpochIsNotShared,
    /// An older fill never overwrites a newer one in the shared store.
    SharedTickets,
    /// Without proof nothing stored is served.
    NothingWithoutProof,
    /// Without proof no fill is taken that began before the request came.
    NewFillsWithoutProof,
    /// Without proof nothing is validated.
    NoValidationWithoutProof,
    /// What is purged is not validated.
    PurgedIsNotValidated,
    /// Without proof nothing stands in for an error.
    NoStandInWithoutProof,
    /// The proof is loaded before the position.
    ProofLoadedFirst,
    /// Provisional rows are looked for before the position is loaded.
    ProvisionalLoadedFirst,
    /// Trimming spares what a live node has not applied.
    TrimsBehindCursors,
    /// READ says when records after the cursor were trimmed.
    BehindIsSaid,
    /// The local floor rises after a gap.
    FloorAfterGap,
    /// A new epoch begins with the log's floor, not only with its base.
    FloorAtStart,
    /// The first epoch is above what began before it, too.
    FirstEpochIsAbove,
    /// The base of an epoch is above all earlier positions.
    BaseAbove,
    /// The floor rises to the base of a new epoch.
    FloorAtBase,
    /// A write whose purge could not be logged leaves a provisional row.
    Provisional,
    /// A provisional row stays until its record is applied.
    ProvisionalUntilApplied,
    /// A provisional row goes also when its record is known to be at or below the cursor: it may have been skipped.
    ProvisionalByNumber,
    /// What a provisional row covers stays queued until its record is applied.
    QueuedUntilApplied,
    /// A check sees provisional rows although `current` has not moved.
    ChecksSeeProvisional,
    /// A request joins no fill that a provisional row covers.
    JoinsSeeProvisional,
    /// The table of nodes is lost only together with the state: both are in one key.
    NodesInState,
    /// Leases are measured by clocks that are never set.
    ClocksAreNotSet,
}

/// Which rules hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules(u64);

impl Rules {
    pub(crate) const ALL: Self = Self(u64::MAX);

    pub(crate) fn has(self, rule: Rule) -> bool {
        self.0 & 1 << rule as u8 != 0
    }

    pub(crate) fn without(self, rule: Rule) -> Self {
        Self(self.0 & !(1 << rule as u8))
    }
}
