//! How a repository stands with its team, in one word that people can rely on.
//!
//! Invariants:
//! - `synced` and `partial` are said only of what has been so for [`LEVEL_MS`] without a break;
//! - what goes wrong is said at once; a save that arrives in time changes no word;
//! - so a word that is said of what is level stays, or another one stays for that long: nothing flickers.

use crate::Now;

/// How long everything has to be level before that is said, in milliseconds.
pub const LEVEL_MS: u64 = 1_000;
/// How long something may be on its way before that is said, in milliseconds.
pub const BUSY_MS: u64 = 250;

/// What is so at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Whether the log or the team's is not to be trusted, or not served.
    pub has_fault: bool,
    /// Whether the Mothership is there.
    pub is_linked: bool,
    /// Whether nothing is on its way, out or in.
    pub is_level: bool,
    /// How many files hold what is not told although it could be.
    pub lacking: u64,
}

/// How a repository stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Something is wrong that does not pass by itself.
    Error,
    /// There is no Mothership.
    Offline,
    /// Something is on its way.
    Syncing,
    /// Everything is where it belongs.
    Synced,
    /// Everything but what so many files hold.
    Partial(u64),
}

impl Word {
    fn of(facts: Facts) -> Self {
        match facts {
            _ if facts.has_fault => Self::Error,
            _ if !facts.is_linked => Self::Offline,
            _ if !facts.is_level => Self::Syncing,
            _ if facts.lacking == 0 => Self::Synced,
            _ => Self::Partial(facts.lacking),
        }
    }

    /// The word itself.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Offline => "offline",
            Self::Syncing => "syncing",
            Self::Synced => "synced",
            Self::Partial(_) => "partial",
        }
    }

    /// How many files hold what is not told.
    pub fn lacking(self) -> u64 {
        match self {
            Self::Partial(lacking) => lacking,
            Self::Error | Self::Offline | Self::Syncing | Self::Synced => 0,
        }
    }

    fn is_level(self) -> bool {
        matches!(self, Self::Synced | Self::Partial(_))
    }
}

/// The word that is said.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    said: Word,
    /// What is so now, and since when.
    is: Word,
    since_ms: u64,
}

impl Standing {
    /// Of a repository of which nothing is known yet.
    pub fn new(now: Now) -> Self {
        Self {
            said: Word::Offline,
            is: Word::Offline,
            since_ms: now.mono_ms,
        }
    }

    /// Takes in what is so now; answers the word, if it is another one from now on.
    pub fn handle(&mut self, now: Now, facts: Facts) -> Option<Word> {
        let is = Word::of(facts);
        if is != self.is {
            (self.is, self.since_ms) = (is, now.mono_ms);
        }
        if self.deadline()? <= now.mono_ms {
            self.said = self.is;
            return Some(self.said);
        }
        None
    }

    /// When another word is said, if nothing changes, on the monotonic clock.
    pub fn deadline(&self) -> Option<u64> {
        let wait_ms = match (self.said, self.is) {
            (said, is) if said == is => return None,
            (_, is) if is.is_level() => LEVEL_MS,
            (said, Word::Syncing) if said.is_level() => BUSY_MS,
            _ => 0,
        };
        Some(self.since_ms + wait_ms)
    }

    /// The word that is said.
    pub fn word(&self) -> Word {
        self.said
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(mono_ms: u64) -> Now {
        Now {
            mono_ms,
            wall_ms: mono_ms,
        }
    }

    const GONE: Facts = Facts {
        has_fault: false,
        is_linked: false,
        is_level: false,
        lacking: 0,
    };
    const BUSY: Facts = Facts {
        is_linked: true,
        ..GONE
    };
    const LEVEL: Facts = Facts {
        is_level: true,
        ..BUSY
    };
    const HELD: Facts = Facts {
        lacking: 2,
        ..LEVEL
    };
    const FAULT: Facts = Facts {
        has_fault: true,
        ..LEVEL
    };

    /// What is said at each moment of a run, where the machine is asked at its deadlines as well.
    fn said(run: &[(u64, Facts)], until_ms: u64) -> Vec<(u64, Word)> {
        let mut standing = Standing::new(at(0));
        let mut said = vec![(0, standing.word())];
        let ends = run.iter().skip(1).map(|(ms, _)| *ms).chain([until_ms]);
        for ((ms, facts), end_ms) in run.iter().zip(ends) {
            let mut now_ms = *ms;
            loop {
                said.extend(
                    standing
                        .handle(at(now_ms), *facts)
                        .map(|word| (now_ms, word)),
                );
                match standing.deadline() {
                    Some(due_ms) if due_ms < end_ms => now_ms = due_ms,
                    _ => break,
                }
            }
        }
        said
    }

    #[test]
    fn c80_the_word_is_right_over_a_run_of_twenty_events_and_does_not_flicker() {
        let run = [
            (0, GONE),
            (100, BUSY),
            (400, LEVEL),
            // Level for too short a time.
            (1_300, BUSY),
            (1_320, LEVEL),
            // Saves that arrive in time change no word.
            (3_000, BUSY),
            (3_030, LEVEL),
            (3_100, BUSY),
            (3_340, LEVEL),
            // One that does not.
            (4_000, BUSY),
            (4_300, LEVEL),
            // Two files are held back, and one of them no more.
            (6_000, HELD),
            (8_000, Facts { lacking: 1, ..HELD }),
            (10_000, LEVEL),
            // The link breaks and comes back.
            (12_000, GONE),
            (12_040, BUSY),
            (12_060, LEVEL),
            // A fault, and what is busy or gone in it.
            (14_000, FAULT),
            (
                14_100,
                Facts {
                    is_linked: false,
                    ..FAULT
                },
            ),
            (15_000, LEVEL),
        ];
        assert_eq!(run.len(), 20);
        let expected = [
            (0, Word::Offline),
            (100, Word::Syncing),
            (2_320, Word::Synced),
            (4_250, Word::Syncing),
            (5_300, Word::Synced),
            (7_000, Word::Partial(2)),
            (9_000, Word::Partial(1)),
            (11_000, Word::Synced),
            (12_000, Word::Offline),
            (12_040, Word::Syncing),
            (13_060, Word::Synced),
            (14_000, Word::Error),
            (16_000, Word::Synced),
        ];
        assert_eq!(said(&run, 20_000), expected);
    }

    fn facts() -> impl Strategy<Value = Facts> {
        prop_oneof![Just(GONE), Just(BUSY), Just(LEVEL), Just(HELD), Just(FAULT)]
    }

    proptest! {
        #[test]
        fn c80_what_is_said_to_be_level_was_so_for_a_second_and_no_word_comes_and_goes(
            steps in prop::collection::vec((1_u64..2_000, facts()), 1..60)
        ) {
            let mut now_ms = 0;
            let run: Vec<(u64, Facts)> = steps
                .into_iter()
                .map(|(ms, facts)| {
                    now_ms += ms;
                    (now_ms, facts)
                })
                .collect();
            let said = said(&run, now_ms + 10_000);
            for (ms, word) in said.iter().filter(|(_, word)| word.is_level()) {
                let since_ms = ms.checked_sub(LEVEL_MS);
                prop_assert!(since_ms.is_some());
                let before = run.iter().rfind(|(at_ms, _)| *at_ms <= ms - LEVEL_MS);
                let within = run.iter().filter(|(at_ms, _)| ms - LEVEL_MS < *at_ms && at_ms <= ms);
                for (_, facts) in before.into_iter().chain(within) {
                    prop_assert_eq!(Word::of(*facts), *word);
                }
            }
            let last = run.last().map(|(_, facts)| Word::of(*facts));
            prop_assert_eq!(said.last().map(|(_, word)| *word), last);
            for pair in said.windows(2) {
                prop_assert_ne!(pair[0].1, pair[1].1);
            }
        }
    }
}
