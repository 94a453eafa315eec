//! One object's history, judged while it grows: is there an order of its operations, each between its
//! beginning and its end, in which every one could have come to what it came to? Wing and Gong 1993, with
//! Lowe's memory of cases (2017), kept forward in time instead of searched at the end.
//!
//! A case is a state that the object may have by now, with the operations in it that have not
//! ended yet. What happened is taken in as soon as it is known what became of everyone who had begun by
//! then. An operation that was lost may happen at any later time, once, or never; it is put in only where
//! it is needed. Three rules keep cases few:
//! - who reads, and can read what it read, reads at once: nothing is lost by it;
//! - who overwrites may be put right before another who overwrites, where nobody sees it: so when one
//!   does, everyone else who could have is free to end without a trace;
//! - to put one who overwrites anywhere else makes sense only if somebody sees it.
//!
//! Invariants
//! - no case left: there is no such order;
//! - of two cases the one that used less of what was lost, and leaves more free to end, is enough;
//! - the search is bounded, and says so when it ends there.
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;

/// Steps of the search for one ending.
const STEPS_MAX: u32 = 200_000;
/// Operations that a failure tells of.
const TOLD_MAX: usize = 16;

/// What is operated on.
pub trait Object: Clone + Debug {
    type State: Clone + Debug + Default + Ord;
    /// An operation with what it came to.
    type Act: Clone + Debug + Ord;

    /// The state after `act`, if `act` can come to what it came to in `state`. What happens by itself
    /// happens here, where it is needed; and after that no more is possible than before.
    fn after(state: &Self::State, act: &Self::Act) -> Option<Self::State>;

    fn kind(act: &Self::Act) -> Kind;
}

/// What an operation does to the state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Nothing, wherever it can come to what it came to.
    Reads,
    /// It is possible in every state, and the state after it says nothing of the one before.
    Overwrites,
    Changes,
}

/// Names an operation within its history: later ones have greater numbers.
pub type Number = u64;

/// What became of an operation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fate<A> {
    /// It was answered.
    Done(A),
    /// Nobody knows: this may happen yet, once.
    Lost(A),
    /// It did not happen, and never will.
    Undone,
}

/// Why a history is not accepted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// There is no order.
    NoOrder(String),
    /// Whether there is one was not found out.
    Undecided,
}

#[derive(Clone, Copy, Debug)]
enum Moment {
    Begun(Number),
    Ended(Number),
}

/// Where the object may be.
#[derive(Clone, Debug)]
struct Case<O: Object> {
    state: O::State,
    /// Operations that happened and have not ended, in order.
    done: Vec<Number>,
    /// Operations that may end without more, in order: they have read, or were overwritten unseen.
    free: Vec<Number>,
    /// Lost operations that happened, in order.
    used: Vec<O::Act>,
}

/// The history of one object.
#[derive(Debug)]
pub struct History<O: Object> {
    /// What is not taken in yet.
    moments: VecDeque<Moment>,
    fates: BTreeMap<Number, Fate<O::Act>>,
    /// Taken in and not ended.
    active: BTreeMap<Number, O::Act>,
    /// Lost, and how many of each kind: those of one kind are as good as each other.
    lost: BTreeMap<O::Act, usize>,
    cases: Vec<Case<O>>,
    /// What ended last.
    told: VecDeque<String>,
}

impl<O: Object> Default for History<O> {
    fn default() -> Self {
        let state = O::State::default();
        let first = Case { state, done: Vec::new(), free: Vec::new(), used: Vec::new() };
        Self {
            moments: VecDeque::new(),
            fates: BTreeMap::new(),
            active: BTreeMap::new(),
            lost: BTreeMap::new(),
            cases: vec![first],
            told: VecDeque::new(),
        }
    }
}

impl<O: Object> History<O> {
    /// The operation `number` begins.
    pub fn on_begun(&mut self, number: Number) {
        self.moments.push_back(Moment::Begun(number));
    }

    /// It is known what became of it.
    ///
    /// # Errors
    /// What happened until now has no order, or none was found.
    pub fn on_fate(&mut self, number: Number, fate: Fate<O::Act>) -> Result<(), Refusal> {
        if matches!(fate, Fate::Done(_)) {
            self.moments.push_back(Moment::Ended(number));
        }
        let before = self.fates.insert(number, fate);
        assert!(before.is_none(), "one thing becomes of an operation");
        self.take_in()
    }

    fn take_in(&mut self) -> Result<(), Refusal> {
        while let Some(&moment) = self.moments.front() {
            match moment {
                Moment::Begun(number) => {
                    let Some(fate) = self.fates.remove(&number) else { break };
                    match fate {
                        Fate::Done(act) => {
                            self.active.insert(number, act);
                            for found in &mut self.cases {
                                found.read_at_once(&self.active);
                            }
                        }
                        Fate::Lost(act) => *self.lost.entry(act).or_default() += 1,
                        Fate::Undone => (),
                    }
                }
                Moment::Ended(number) => self.end(number)?,
            }
            self.moments.pop_front();
        }
        Ok(())
    }

    /// Every case must have it by now.
    fn end(&mut self, number: Number) -> Result<(), Refusal> {
        let act = self.active.remove(&number).expect("invariant: it ends after it began");
        let before = std::mem::take(&mut self.cases);
        let states = before.iter().take(TOLD_MAX).map(|found| found.state.clone());
        let states: Vec<O::State> = states.collect();
        self.told.push_back(format!("{number}: {act:?}"));
        if TOLD_MAX < self.told.len() {
            self.told.pop_front();
        }
        let mut search = Search { history: self, number, act, steps: 0, ended: Frontier::new() };
        let is_decided = search.run(before);
        self.cases = search.ended.into_cases();
        let told = || Vec::from(self.told.clone()).join("; ");
        if !is_decided {
            return Err(Refusal::Undecided);
        }
        if self.cases.is_empty() {
            let text = format!("the last of these cannot be, from {states:?}: {}", told());
            return Err(Refusal::NoOrder(text));
        }
        self.forget_used();
        Ok(())
    }

    /// What was lost and happened in every case has happened.
    fn forget_used(&mut self) {
        let first = self.cases.first().map(|found| found.used.clone());
        for act in first.unwrap_or_default() {
            let is_common = self.cases.iter().all(|found| found.used.contains(&act));
            if !is_common {
                continue;
            }
            for found in &mut self.cases {
                if let Ok(at) = found.used.binary_search(&act) {
                    found.used.remove(at);
                }
            }
            if let Some(count) = self.lost.get_mut(&act) {
                *count -= 1;
                if *count == 0 {
                    self.lost.remove(&act);
                }
            }
        }
    }
}

impl<O: Object> Case<O> {
    /// Whoever can read what it read does. Answers whether somebody did.
    fn read_at_once(&mut self, active: &BTreeMap<Number, O::Act>) -> bool {
        let before = self.free.len();
        for (&number, act) in active {
            let reads = O::kind(act) == Kind::Reads;
            if reads && O::after(&self.state, act).as_ref() == Some(&self.state) {
                insert(&mut self.free, number);
            }
        }
        before < self.free.len()
    }
}

/// Put `one` into its place, once.
fn insert(list: &mut Vec<Number>, one: Number) {
    if let Err(at) = list.binary_search(&one) {
        list.insert(at, one);
    }
}

/// Take `one` out, if it is there.
fn remove(list: &mut Vec<Number>, one: Number) -> bool {
    let found = list.binary_search(&one);
    if let Ok(at) = found {
        list.remove(at);
    }
    found.is_ok()
}

/// A case on the way to an ending.
#[derive(Clone, Debug)]
struct Place<O: Object> {
    found: Case<O>,
    /// The state was just overwritten, and nobody has seen it yet.
    is_unseen: bool,
}

/// State and what is done, and whether that is seen.
type Key<O> = (<O as Object>::State, Vec<Number>, bool);
/// Who is free, and what was used.
type Means<O> = (Vec<Number>, Vec<<O as Object>::Act>);

/// Places by what they have in common: for each the best that leads there.
struct Frontier<O: Object>(BTreeMap<Key<O>, Vec<Means<O>>>);

impl<O: Object> Frontier<O> {
    const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Whether it is new: nothing known is as good.
    fn insert(&mut self, place: &Place<O>) -> bool {
        let Case { state, done, free, used } = &place.found;
        let known = self.0.entry((state.clone(), done.clone(), place.is_unseen)).or_default();
        let is_better = |one: &Means<O>, free: &[Number], used: &[O::Act]| {
            is_part_of(free, &one.0) && is_part_of(&one.1, used)
        };
        if known.iter().any(|one| is_better(one, free, used)) {
            return false;
        }
        let new = (free.clone(), used.clone());
        known.retain(|one| !is_better(&new, &one.0, &one.1));
        known.push(new);
        true
    }

    fn into_cases(self) -> Vec<Case<O>> {
        let all = self.0.into_iter().flat_map(|((state, done, _), means)| {
            means.into_iter().map(move |(free, used)| Case {
                state: state.clone(),
                done: done.clone(),
                free,
                used,
            })
        });
        all.collect()
    }
}

/// Whether everything in `part` is in `whole`, as often; both in order.
fn is_part_of<A: Ord>(part: &[A], whole: &[A]) -> bool {
    let mut rest = whole.iter();
    part.len() <= whole.len() && part.iter().all(|wanted| rest.any(|found| found == wanted))
}

/// From all cases to those in which the operation `number` has happened.
struct Search<'a, O: Object> {
    history: &'a History<O>,
    number: Number,
    act: O::Act,
    steps: u32,
    ended: Frontier<O>,
}

impl<O: Object> Search<'_, O> {
    /// Whether it came to its end.
    fn run(&mut self, before: Vec<Case<O>>) -> bool {
        let mut seen = Frontier::<O>::new();
        let begin = before.into_iter().map(|found| Place { found, is_unseen: false });
        let mut todo: VecDeque<Place<O>> = begin.collect();
        while let Some(place) = todo.pop_front() {
            if self.ends_freely(&place.found) {
                continue;
            }
            let direct = O::after(&place.found.state, &self.act);
            if let Some(state) = direct.clone().filter(|_| self.may_follow(&self.act, &place)) {
                let mut ended = self.with(&place, state, &self.act, Some(self.number));
                remove(&mut ended.found.done, self.number);
                remove(&mut ended.found.free, self.number);
                self.end(ended.found);
            }
            let mut next = self.with_lost(&place, direct.as_ref());
            next.extend(self.with_others(&place));
            self.steps = self.steps.saturating_add(1 + u32::try_from(next.len()).unwrap_or(1));
            if STEPS_MAX < self.steps {
                return false;
            }
            todo.extend(next.into_iter().filter(|place| seen.insert(place)));
        }
        true
    }

    fn end(&mut self, found: Case<O>) {
        self.ended.insert(&Place { found, is_unseen: false });
    }

    /// It has happened already, or may have; answers whether there is no other way from here.
    fn ends_freely(&mut self, found: &Case<O>) -> bool {
        let mut ended = found.clone();
        let is_done = remove(&mut ended.done, self.number);
        let is_free = remove(&mut ended.free, self.number);
        if is_done || is_free {
            self.end(ended);
        }
        is_done || (is_free && O::kind(&self.act) == Kind::Reads)
    }

    /// What is overwritten unseen may as well have been put before what came before it.
    fn may_follow(&self, act: &O::Act, place: &Place<O>) -> bool {
        !place.is_unseen || O::kind(act) != Kind::Overwrites
    }

    /// `act` happens, and the state is `state`. It has a number if it ends some time.
    fn with(
        &self,
        from: &Place<O>,
        state: O::State,
        act: &O::Act,
        number: Option<Number>,
    ) -> Place<O> {
        let mut found = Case { state, ..from.found.clone() };
        let kind = O::kind(act);
        if kind == Kind::Overwrites {
            let others = self.history.active.iter();
            let others = others.filter(|(_, other)| O::kind(other) == Kind::Overwrites);
            for (&other, _) in others {
                if found.done.binary_search(&other).is_err() {
                    insert(&mut found.free, other);
                }
            }
        }
        match number {
            Some(number) if kind == Kind::Reads => insert(&mut found.free, number),
            Some(number) => {
                remove(&mut found.free, number);
                insert(&mut found.done, number);
            }
            None => {
                let at = found.used.partition_point(|used| used < act);
                found.used.insert(at, act.clone());
            }
        }
        let is_seen = found.read_at_once(&self.history.active);
        Place { found, is_unseen: kind == Kind::Overwrites && !is_seen }
    }

    /// Who has begun may happen before.
    fn with_others(&self, from: &Place<O>) -> Vec<Place<O>> {
        let may_be_seen = O::kind(&self.act) != Kind::Overwrites || self.is_watched(from);
        let others = self.history.active.iter().filter_map(|(&number, act)| {
            let is_in = |list: &[Number]| list.binary_search(&number).is_ok();
            let is_over = match O::kind(act) {
                Kind::Reads => is_in(&from.found.free),
                Kind::Overwrites => is_in(&from.found.done) || !may_be_seen,
                Kind::Changes => is_in(&from.found.done),
            };
            if is_over || !self.may_follow(act, from) {
                return None;
            }
            Some(self.with(from, O::after(&from.found.state, act)?, act, Some(number)))
        });
        others.collect()
    }

    /// What was lost may happen before, where that makes a difference.
    fn with_lost(&self, from: &Place<O>, direct: Option<&O::State>) -> Vec<Place<O>> {
        let is_watched = self.is_watched(from);
        // Where nobody looks on, what was lost may come afterwards as well.
        let is_enough = direct.is_some() && !is_watched && O::kind(&self.act) != Kind::Changes;
        if is_enough {
            return Vec::new();
        }
        let Case { state: before, used, .. } = &from.found;
        let mut next = Vec::new();
        for (act, &count) in &self.history.lost {
            let is_left = used.iter().filter(|used| *used == act).count() < count;
            if !is_left || !self.may_follow(act, from) {
                continue;
            }
            let Some(state) = O::after(before, act) else { continue };
            let frees = O::kind(act) == Kind::Overwrites && self.is_anyone_bound(from);
            let matters = is_watched || !self.is_vain(act, &state, direct);
            if frees || (state != *before && matters) {
                next.push(self.with(from, state, act, None));
            }
        }
        next
    }

    /// Somebody who has begun and not happened looks at what is there.
    fn is_watched(&self, from: &Place<O>) -> bool {
        let Case { done, free, .. } = &from.found;
        self.history.active.iter().any(|(number, act)| match O::kind(act) {
            Kind::Overwrites => false,
            Kind::Reads => free.binary_search(number).is_err(),
            Kind::Changes => done.binary_search(number).is_err(),
        })
    }

    /// Somebody who overwrites would be free if somebody else did now.
    fn is_anyone_bound(&self, from: &Place<O>) -> bool {
        let Case { done, free, .. } = &from.found;
        self.history.active.iter().any(|(number, act)| {
            let is_in = |list: &[Number]| list.binary_search(number).is_ok();
            O::kind(act) == Kind::Overwrites && !is_in(done) && !is_in(free)
        })
    }

    /// Whether it may as well happen afterwards, or not at all.
    fn is_vain(&self, lost: &O::Act, with_lost: &O::State, direct: Option<&O::State>) -> bool {
        let Some(direct) = direct else { return false };
        let via = O::after(with_lost, &self.act);
        via.is_none_or(|via| via == *direct || O::after(direct, lost) == Some(via))
    }
}
