//! What the model knows: the state of everything, the rules, and the promises.

/// A rule of the fence: a sentence of its description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Records are applied in the order of their numbers.
    AppliedInOrder,
    /// The row is in the table before `current` tells of it.
    RowBeforeCurrent,
    /// The purge is acknowledged after it was applied.
    AcknowledgedWhenApplied,
    /// A fill loads `begun_at` before it contacts the origin.
    BegunBeforeTheOrigin,
    /// A reader loads `current` before it looks at the rows.
    CurrentBeforeRows,
    /// A reader looks at the floor after the rows.
    FloorAfterRows,
    /// What is below the floor is refused.
    FloorRefuses,
    /// Only the verdict of valid is remembered.
    OnlyValidIsRemembered,
    /// It is remembered with the `current` that was loaded.
    RememberedAsLoaded,
    /// A later soft purge never softens a hard one.
    HardBesideSoft,
    /// A row keeps each causer with its own number.
    EachCauser,
    /// An older fill is taken only if no hard purge covers it.
    JoinsNothingPurged,
    /// An older fill is taken only if no soft purge covers it.
    JoinsNothingStale,
    /// A hard-purged response is never validated.
    PurgedIsNotValidated,
    /// A soft-purged one is validated with a strong validator only.
    StaleNeedsStrong,
    /// A fill looks at the stored response after it has loaded `begun_at`.
    LooksAgain,
    /// An older fill never overwrites a newer one.
    Tickets,
    /// The highest committed ticket outlives the entry.
    TicketsOutliveEntries,
    /// A bust never joins an earlier fill.
    BustsAnew,
    /// The floor is published before the rows are freed.
    FloorBeforeFreeing,
    /// Every stripe's `current` is raised before the floor is.
    CurrentBeforeFloor,
    /// The floor follows the oldest running fill.
    FollowsFills,
    /// The floor follows the oldest stored response.
    FollowsResponses,
}

pub(crate) const STALE: &str = "a purged answer was served";
pub(crate) const NOT_FRESH: &str = "a softly purged answer was served as fresh";
pub(crate) const DISORDER: &str = "an older fill overwrote a newer one";
pub(crate) const NO_BUST: &str = "a bust got an answer that was under way";
pub(crate) const BELOW: &str = "a fill or a kept response is below the floor";

impl Rule {
    pub(crate) const ALL: [Self; 23] = [
        Self::AppliedInOrder,
        Self::RowBeforeCurrent,
        Self::AcknowledgedWhenApplied,
        Self::BegunBeforeTheOrigin,
        Self::CurrentBeforeRows,
        Self::FloorAfterRows,
        Self::FloorRefuses,
        Self::OnlyValidIsRemembered,
        Self::RememberedAsLoaded,
        Self::HardBesideSoft,
        Self::EachCauser,
        Self::JoinsNothingPurged,
        Self::JoinsNothingStale,
        Self::PurgedIsNotValidated,
        Self::StaleNeedsStrong,
        Self::LooksAgain,
        Self::Tickets,
        Self::TicketsOutliveEntries,
        Self::BustsAnew,
        Self::FloorBeforeFreeing,
        Self::CurrentBeforeFloor,
        Self::FollowsFills,
        Self::FollowsResponses,
    ];

    /// Whether this is a promise that is broken without it.
    pub(crate) fn breaks(self, promise: &str) -> bool {
        match self {
            // To whoever caused the purge it is a purged answer.
            Self::OnlyValidIsRemembered | Self::JoinsNothingStale | Self::StaleNeedsStrong => {
                [STALE, NOT_FRESH].contains(&promise)
            }
            Self::Tickets | Self::TicketsOutliveEntries => promise == DISORDER,
            Self::BustsAnew => promise == NO_BUST,
            Self::CurrentBeforeFloor | Self::FollowsFills | Self::FollowsResponses => promise == BELOW,
            _ => promise == STALE,
        }
    }
}

impl Rule {
    /// Whether a scenario is one in which the rule is looked for: where its want shows soonest.
    pub(crate) fn shows_in(self, scenario: &Scenario) -> bool {
        use Kind::{Hard, OtherPage, OtherStripe, Soft};
        let (sweep, purges) = match self {
            Self::AppliedInOrder | Self::CurrentBeforeRows | Self::RememberedAsLoaded => {
                (Sweep::None, [Hard, OtherPage])
            }
            Self::HardBesideSoft => (Sweep::None, [Hard, Soft]),
            Self::EachCauser
            | Self::OnlyValidIsRemembered
            | Self::JoinsNothingStale
            | Self::StaleNeedsStrong => (Sweep::None, [Soft, Soft]),
            Self::FloorAfterRows | Self::FloorRefuses | Self::FloorBeforeFreeing => {
                (Sweep::Early, [Hard, Hard])
            }
            Self::CurrentBeforeFloor | Self::FollowsFills => (Sweep::Pass, [OtherStripe, Hard]),
            // What is valid is lifted to where it was found so; what is stale stays where it was.
            Self::FollowsResponses => (Sweep::Pass, [Soft, Soft]),
            _ => (Sweep::None, [Hard, Hard]),
        };
        scenario.sweep == sweep && scenario.purges == purges
    }
}

/// All rules, or all but one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules(Option<Rule>);

impl Rules {
    pub(crate) const ALL: Self = Self(None);

    pub(crate) fn without(rule: Rule) -> Self {
        Self(Some(rule))
    }

    pub(crate) fn has(self, rule: Rule) -> bool {
        self.0 != Some(rule)
    }
}

/// What a purge is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Hard,
    Soft,
    /// A hard one of another page of the same stripe.
    OtherPage,
    /// A hard one in another stripe.
    OtherStripe,
}

/// What raises the floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sweep {
    None,
    /// A pass of the sweeper.
    Pass,
    /// The table is full.
    Early,
}

/// What may happen in a run. Reader 0 causes purge 0, reader 1 causes purge 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) purges: [Kind; 2],
    /// Whether reader 1 asks for a fresh answer.
    pub(crate) busts: bool,
    pub(crate) sweep: Sweep,
}

/// What the fence says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Validity {
    Valid,
    Stale,
    Purged,
}

/// A stored response, or a copy of one in somebody's hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Response {
    pub(crate) version: u8,
    /// Where it began, or was last found valid.
    pub(crate) valid_at: u8,
    pub(crate) ticket: u8,
    /// Past its lifetime.
    pub(crate) expired: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum PurgePhase {
    Idle,
    Appended,
    Applying,
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Purge {
    pub(crate) phase: PurgePhase,
    pub(crate) seq: u8,
    /// The version that it was made for.
    pub(crate) version: u8,
    pub(crate) acknowledged: bool,
    /// Its row is in the table.
    pub(crate) row: bool,
    /// Its causer is in the row.
    pub(crate) causer: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum FillPhase {
    Free,
    Leading,
    Begun,
    Looked,
    Asked,
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fill {
    pub(crate) phase: FillPhase,
    pub(crate) busting: bool,
    pub(crate) begun_at: u8,
    pub(crate) ticket: u8,
    /// The version whose validator is sent, and whether that is a strong one.
    pub(crate) validator: Option<(u8, bool)>,
    pub(crate) version: u8,
    /// It came out with a stored response, which is judged whenever the fill began.
    pub(crate) kept: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ReaderPhase {
    Idle,
    /// This many steps of the look are taken.
    Looking(u8),
    Fetching,
    Waiting(u8),
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Reader {
    pub(crate) phase: ReaderPhase,
    /// What it must not be older than, at all.
    pub(crate) must: u8,
    /// What it must not be older than, where it is said to be fresh.
    pub(crate) must_fresh: u8,
    /// The newest ticket when it came.
    pub(crate) came: u8,
    pub(crate) copy: Option<Response>,
    pub(crate) current: u8,
    pub(crate) validity: Validity,
    pub(crate) since: u8,
    pub(crate) round: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum SweepPhase {
    Idle,
    Begun,
    SawFills,
    SawStore,
    Raising(u8),
    Done,
}

/// Who holds the lock of `applied`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Lock {
    Open,
    Purge(u8),
    Sweeper,
}

/// The state of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) version: u8,
    pub(crate) purges: [Purge; 2],
    pub(crate) appended: u8,
    pub(crate) applied: u8,
    pub(crate) lock: Lock,
    pub(crate) current: u8,
    pub(crate) floor: u8,
    pub(crate) stored: Option<Response>,
    pub(crate) tickets: u8,
    /// The highest committed ticket that is remembered, and in truth.
    pub(crate) committed: u8,
    pub(crate) newest: u8,
    pub(crate) fills: [Fill; 2],
    pub(crate) running: Option<u8>,
    pub(crate) readers: [Reader; 2],
    pub(crate) sweeper: SweepPhase,
    pub(crate) oldest: u8,
    /// The stored response was evicted, or its lifetime ended: one of them happens in a run.
    pub(crate) befallen: bool,
    pub(crate) broken: Option<&'static str>,
}

impl State {
    /// A page is stored and fresh; nothing else has happened.
    pub(crate) fn first() -> Self {
        let purge = Purge {
            phase: PurgePhase::Idle,
            seq: 0,
            version: 0,
            acknowledged: false,
            row: false,
            causer: false,
        };
        let fill = Fill {
            phase: FillPhase::Free,
            busting: false,
            begun_at: 0,
            ticket: 0,
            validator: None,
            version: 0,
            kept: false,
        };
        let reader = Reader {
            phase: ReaderPhase::Idle,
            must: 0,
            must_fresh: 0,
            came: 0,
            copy: None,
            current: 0,
            validity: Validity::Valid,
            since: 0,
            round: 0,
        };
        Self {
            version: 0,
            purges: [purge; 2],
            appended: 0,
            applied: 0,
            lock: Lock::Open,
            current: 0,
            floor: 0,
            stored: Some(Response { version: 0, valid_at: 0, ticket: 0, expired: false }),
            tickets: 0,
            committed: 0,
            newest: 0,
            fills: [fill; 2],
            running: None,
            readers: [reader; 2],
            sweeper: SweepPhase::Idle,
            oldest: 0,
            befallen: false,
            broken: None,
        }
    }

    /// The promises that a state alone can break.
    pub(crate) fn check_floor(&mut self, scenario: &Scenario) {
        if scenario.sweep != Sweep::Pass {
            return;
        }
        let running = |fill: &Fill| {
            matches!(fill.phase, FillPhase::Begun | FillPhase::Looked | FillPhase::Asked)
                && fill.begun_at < self.floor
        };
        if self.fills.iter().any(running) || self.stored.is_some_and(|stored| stored.valid_at < self.floor) {
            self.broken = Some(BELOW);
        }
    }
}
