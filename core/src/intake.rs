//! Which requests of other servers were taken here, and which were turned away for want of room.
//!
//! The network may double a message, and the copy comes when things are different. Whoever was turned
//! away was told that nothing was done, so a copy must not be done later; and of a copy of what was taken
//! nobody must say that nothing was done. Only what is asked the first time is turned away: whoever asks
//! again has told its caller nothing, and would wait whatever it heard.
//!
//! | what came before | what comes now, as if for the first time, is |
//! |---|---|
//! | it was turned away | turned away again |
//! | it was taken, or one with a higher number was | done if there is room; else nothing is said, and it is asked again |
//! | so much was turned away since that nobody knows | not answered |
//!
//! Invariants
//! - who was turned away is not taken by the same start of this server;
//! - what is kept is bounded: `TURNED_AWAY_MAX` numbers of each of `ASKING_SERVERS_MAX` servers.
//!
//! It does not know what is asked, nor why there is no room.
use alloc::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::limits::{ASKING_SERVERS_MAX, TURNED_AWAY_MAX};
use crate::types::{Incarnation, ServerId, Session};

/// What became of a request when it came before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Before {
    /// It never came.
    New,
    MaybeTaken,
    TurnedAway,
    /// Nobody knows any more.
    Forgotten,
}

/// Requests that came, by the server that asked.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Intake {
    origins: BTreeMap<ServerId, Asked>,
}

/// Of one start of a server.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Asked {
    incarnation: Incarnation,
    /// The highest number that was taken.
    taken: u64,
    turned_away: BTreeSet<u64>,
    /// Of the numbers up to here nobody knows which were turned away.
    forgotten: u64,
}

impl Intake {
    /// What became of `asked` when it came before.
    #[must_use]
    pub fn before(&self, asked: Session) -> Before {
        let Some(origin) = self.origins.get(&asked.origin) else { return Before::New };
        if asked.incarnation != origin.incarnation {
            let is_newer = origin.incarnation < asked.incarnation;
            return if is_newer { Before::New } else { Before::Forgotten };
        }
        if origin.turned_away.contains(&asked.seq) && !planted!(CopyTaken) {
            Before::TurnedAway
        } else if asked.seq <= origin.forgotten {
            Before::Forgotten
        } else if asked.seq <= origin.taken && !planted!(CopyTurnedAway) {
            Before::MaybeTaken
        } else {
            Before::New
        }
    }

    /// There was room for it.
    pub fn on_taken(&mut self, asked: Session) {
        let origin = self.origin(asked);
        origin.taken = origin.taken.max(asked.seq);
    }

    /// There was none, and it is told so.
    pub fn on_turned_away(&mut self, asked: Session) {
        let origin = self.origin(asked);
        origin.turned_away.insert(asked.seq);
        if TURNED_AWAY_MAX < origin.turned_away.len() {
            let oldest = origin.turned_away.pop_first();
            origin.forgotten = oldest.expect("invariant: there are too many");
        }
    }

    /// Panics if the machine contradicts itself.
    pub fn check_invariants(&self) {
        assert!(self.origins.len() <= ASKING_SERVERS_MAX, "servers that ask are bounded");
        for origin in self.origins.values() {
            assert!(origin.turned_away.len() <= TURNED_AWAY_MAX, "what is kept is bounded");
            let known = origin.turned_away.first().is_none_or(|&first| origin.forgotten < first);
            assert!(known, "what is forgotten came before what is not");
        }
    }

    fn origin(&mut self, asked: Session) -> &mut Asked {
        let Session { origin, incarnation, .. } = asked;
        if self.origins.len() == ASKING_SERVERS_MAX && !self.origins.contains_key(&origin) {
            self.origins.pop_first();
        }
        let known = self.origins.entry(origin).or_default();
        if known.incarnation != incarnation {
            *known = Asked { incarnation, ..Asked::default() };
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(seq: u64) -> Session {
        Session { origin: ServerId(1), incarnation: Incarnation(2), seq }
    }

    #[test]
    fn a_copy_is_told_what_the_first_was() {
        let mut intake = Intake::default();
        assert_eq!(intake.before(asked(5)), Before::New);
        intake.on_taken(asked(5));
        intake.on_turned_away(asked(6));
        assert_eq!(intake.before(asked(5)), Before::MaybeTaken);
        assert_eq!(intake.before(asked(4)), Before::MaybeTaken, "it may have come before");
        assert_eq!(intake.before(asked(6)), Before::TurnedAway);
        assert_eq!(intake.before(asked(7)), Before::New);
        intake.check_invariants();
    }

    #[test]
    fn whoever_starts_again_asks_anew_and_its_earlier_words_count_no_more() {
        let mut intake = Intake::default();
        intake.on_turned_away(asked(6));
        let again = Session { incarnation: Incarnation(3), ..asked(6) };
        assert_eq!(intake.before(again), Before::New);
        intake.on_taken(again);
        assert_eq!(intake.before(asked(6)), Before::Forgotten);
    }

    #[test]
    fn of_what_came_before_too_many_that_were_turned_away_nothing_is_said() {
        let mut intake = Intake::default();
        let many = 10 + TURNED_AWAY_MAX as u64;
        (1..=many).for_each(|seq| intake.on_turned_away(asked(seq)));
        intake.check_invariants();
        assert_eq!(intake.before(asked(10)), Before::Forgotten);
        assert_eq!(intake.before(asked(11)), Before::TurnedAway);
        assert_eq!(intake.before(asked(many)), Before::TurnedAway);
    }
}
