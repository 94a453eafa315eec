//! What happens to the groups: the scenarios of the papers, and those that people complain about.
use super::world::{MS, Note, Pause, Protocol, SEC, Seen, World, number};

/// In milliseconds.
pub(crate) struct Times(pub(crate) Vec<u64>);

impl Times {
    pub(crate) fn at(&mut self, permille: usize) -> Option<u64> {
        self.0.sort_unstable();
        let nth = (self.0.len() * permille).div_ceil(1_000).max(1);
        self.0.get(nth - 1).copied()
    }

    pub(crate) fn shown(&mut self, permilles: &[usize]) -> String {
        let one = |at: Option<u64>| at.map_or("-".to_owned(), seconds);
        permilles.iter().map(|p| one(self.at(*p))).collect::<Vec<_>>().join(" / ")
    }
}

pub(crate) fn seconds(ms: u64) -> String {
    format!("{}.{:02}", ms / 1_000, ms % 1_000 / 10)
}

pub(crate) struct Steady {
    pub(crate) datagrams_centi: u64,
    pub(crate) bytes: u64,
    pub(crate) stream_bytes: u64,
    pub(crate) cpu_ns: u64,
    pub(crate) failed: usize,
    pub(crate) suspected: usize,
}

pub(crate) fn steady<P: Protocol>(
    count: usize,
    secs: u64,
    loss_permille: u64,
    seed: u64,
) -> Steady {
    let mut world = World::<P>::warm(count, count, seed);
    world.loss = loss_permille;
    world.run_until(world.now + secs * SEC);
    let all = count as u64 * secs;
    let seen = |seen: Seen| world.notes.iter().filter(|note| note.seen == seen).count();
    Steady {
        datagrams_centi: world.traffic.datagrams * 100 / all,
        bytes: world.traffic.datagram_bytes / all,
        stream_bytes: world.traffic.stream_bytes / all,
        cpu_ns: u64::try_from(world.cpu().as_nanos()).expect("small") / all,
        failed: seen(Seen::Failed),
        suspected: seen(Seen::Suspected),
    }
}

pub(crate) struct Churned {
    pub(crate) first: Times,
    /// After the first.
    pub(crate) full: Times,
    pub(crate) known: Times,
    pub(crate) complete: Times,
    pub(crate) wrong: usize,
    pub(crate) unseen: usize,
}

/// One dies, later a new one joins, again and again.
pub(crate) fn churn<P: Protocol>(count: usize, rounds: usize, seed: u64) -> Churned {
    let mut world = World::<P>::warm(count, count + rounds, seed);
    let mut alive: Vec<u32> = (0..number(count)).collect();
    let mut churned = Churned {
        first: Times(Vec::new()),
        full: Times(Vec::new()),
        known: Times(Vec::new()),
        complete: Times(Vec::new()),
        wrong: 0,
        unseen: 0,
    };
    for round in 0..rounds {
        let nth = world.draw(alive.len());
        let victim = alive.swap_remove(nth);
        let from = world.now;
        world.notes.clear();
        world.crash(victim);
        let seen =
            wait(&mut world, alive.len(), |note| note.seen == Seen::Failed && note.of == victim);
        match (seen.first(), seen.len() == alive.len()) {
            (Some(first), true) => {
                churned.first.0.push((first - from) / MS);
                churned.full.0.push((seen[seen.len() - 1] - first) / MS);
            }
            _ => churned.unseen += 1,
        }
        world.run_until(world.now + 10 * SEC);
        churned.wrong +=
            world.notes.iter().filter(|n| n.seen == Seen::Failed && n.of != victim).count();
        world.notes.clear();
        let newcomer = number(count + round);
        let nth = world.draw(alive.len());
        let seed = alive[nth];
        let from = world.now;
        world.join(newcomer, &[seed]);
        let mut complete = None;
        let mut known = 0;
        while world.now < from + 120 * SEC && (complete.is_none() || known < alive.len()) {
            world.run_until(world.now + 20 * MS);
            known =
                world.notes.iter().filter(|n| n.seen == Seen::Alive && n.of == newcomer).count();
            if complete.is_none() && alive.len() < world.view(newcomer) {
                complete = Some((world.now - from) / MS);
            }
        }
        let last = world.notes.iter().rfind(|n| n.seen == Seen::Alive && n.of == newcomer);
        match last {
            Some(last) if alive.len() <= known => churned.known.0.push((last.at - from) / MS),
            _ => churned.unseen += 1,
        }
        churned.complete.0.extend(complete);
        alive.push(newcomer);
        world.run_until(world.now + 10 * SEC);
        churned.wrong += world.notes.iter().filter(|n| n.seen == Seen::Failed).count();
    }
    churned
}

/// Until `count` members have noted it, or 120 s; when they did.
fn wait<P: Protocol>(
    world: &mut World<P>,
    count: usize,
    is_it: impl Fn(&Note) -> bool,
) -> Vec<u64> {
    let until = world.now + 120 * SEC;
    loop {
        world.run_until(world.now + 20 * MS);
        let seen: Vec<u64> = world.notes.iter().filter(|n| is_it(n)).map(|n| n.at).collect();
        if count <= seen.len() || until < world.now {
            return seen;
        }
    }
}

pub(crate) struct Group {
    pub(crate) first: Times,
    pub(crate) all_ms: Option<u64>,
    pub(crate) shifts_max: usize,
    pub(crate) wrong: usize,
}

/// `dead` of `count` die at once.
pub(crate) fn crash<P: Protocol>(count: usize, dead: usize, seed: u64) -> Group {
    let mut world = World::<P>::warm(count, count, seed);
    let victims = world.draw_some(dead, count);
    let from = world.now;
    victims.iter().for_each(|id| world.crash(*id));
    world.run_until(from + 40 * SEC);
    let is_dead = |id: u32| victims.contains(&id);
    let failed: Vec<&Note> = world.notes.iter().filter(|n| n.seen == Seen::Failed).collect();
    let firsts = victims.iter().filter_map(|id| {
        failed.iter().find(|note| note.of == *id).map(|note| (note.at - from) / MS)
    });
    let right = failed.iter().filter(|n| is_dead(n.of)).count();
    let shifts =
        |id: u32| world.notes.iter().filter(|n| n.seen == Seen::Shift && n.by == id).count();
    let survivors = (0..number(count)).filter(|id| !is_dead(*id));
    Group {
        first: Times(firsts.collect()),
        all_ms: (right == dead * (count - dead))
            .then(|| failed.iter().map(|n| (n.at - from) / MS).max().unwrap_or_default()),
        shifts_max: survivors.map(shifts).max().unwrap_or_default(),
        wrong: failed.len() - right,
    }
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Cell {
    pub(crate) wrong: usize,
    pub(crate) wrong_at_healthy: usize,
    pub(crate) datagrams: u64,
    pub(crate) right: usize,
}

/// Lifeguard's experiment: some members pause for `pause_ms`, run for `run_ms`, and so on for 120 s.
pub(crate) fn cell<P: Protocol>(
    sick: usize,
    pause_ms: u64,
    run_ms: u64,
    pause: Pause,
    seed: u64,
) -> Cell {
    let mut world = World::<P>::warm(128, 128, seed);
    let ids = world.draw_some(sick, 128);
    let (from, end) = (world.now, world.now + 120 * SEC);
    for &id in &ids {
        let mut at = from;
        while at < end {
            world.at(at, move |world| world.pause(id, pause));
            world.at((at + pause_ms * MS).min(end), move |world| world.resume(id));
            at += (pause_ms + run_ms) * MS;
        }
    }
    world.run_until(end);
    let mut cell = Cell { datagrams: world.traffic.datagrams, ..Cell::default() };
    for note in world.notes.iter().filter(|note| note.seen == Seen::Failed) {
        if ids.contains(&note.of) {
            cell.right += 1;
        } else {
            cell.wrong += 1;
            cell.wrong_at_healthy += usize::from(!ids.contains(&note.by));
        }
    }
    cell
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// Nothing arrives for 20 s, then everything for 20 s, and so on.
    FlipFlop,
    /// This much of what is sent is lost, in per mille.
    Egress(u64),
    Ingress(u64),
}

pub(crate) struct Faulty {
    pub(crate) healthy_evicted: usize,
    /// By healthy members, per hundred of them and of the faulty.
    pub(crate) removed_percent: usize,
    pub(crate) returned_percent: usize,
    /// Since when exactly the faulty are out, at every healthy member.
    pub(crate) out_since_s: Option<u64>,
    pub(crate) bytes: u64,
}

pub(crate) fn faulty<P: Protocol>(
    count: usize,
    sick: usize,
    fault: Fault,
    secs: u64,
    seed: u64,
) -> Faulty {
    let mut world = World::<P>::warm(count, count, seed);
    let ids = world.draw_some(sick, count);
    let (from, end) = (world.now, world.now + secs * SEC);
    for &id in &ids {
        let set = move |world: &mut World<P>, loss: u64| world.members[id as usize].in_loss = loss;
        match fault {
            Fault::FlipFlop => {
                for at in (from..end).step_by(usize::try_from(40 * SEC).expect("it fits")) {
                    world.at(at, move |world| set(world, 1_000));
                    world.at(at + 20 * SEC, move |world| set(world, 0));
                }
            }
            Fault::Egress(loss) => world.members[id as usize].out_loss = loss,
            Fault::Ingress(loss) => set(&mut world, loss),
        }
    }
    let mut out_since_s = None;
    let healthy: Vec<u32> = (0..number(count)).filter(|id| !ids.contains(id)).collect();
    for second in 1..=secs {
        world.run_until(from + second * SEC);
        let is_clean = healthy.iter().all(|id| world.view(*id) == healthy.len());
        out_since_s = is_clean.then(|| out_since_s.unwrap_or(second));
    }
    let at_healthy = world.notes.iter().filter(|note| !ids.contains(&note.by));
    let noted = |seen: Seen, is_sick: bool| {
        let these = at_healthy.clone().filter(|n| n.seen == seen);
        these.filter(|n| ids.contains(&n.of) == is_sick).count()
    };
    let pairs = healthy.len() * sick;
    Faulty {
        healthy_evicted: noted(Seen::Failed, false),
        removed_percent: noted(Seen::Failed, true) * 100 / pairs,
        returned_percent: noted(Seen::Alive, true) * 100 / pairs,
        out_since_s,
        bytes: (world.traffic.datagram_bytes + world.traffic.stream_bytes) / (count as u64 * secs),
    }
}

pub(crate) struct Merged {
    pub(crate) was_split: bool,
    pub(crate) merged_ms: Option<u64>,
}

/// `minority` of `count` are cut off for `secs`.
pub(crate) fn partition<P: Protocol>(
    count: usize,
    minority: usize,
    secs: u64,
    seed: u64,
) -> Merged {
    let mut world = World::<P>::warm(count, count, seed);
    world.members[..minority].iter_mut().for_each(|member| member.side = 1);
    let heal = world.now + secs * SEC;
    world.run_until(heal);
    let expected = |id: u32| if (id as usize) < minority { minority } else { count - minority };
    let was_split = (0..number(count)).all(|id| world.view(id) == expected(id));
    world.members.iter_mut().for_each(|member| member.side = 0);
    let mut merged_ms = None;
    while merged_ms.is_none() && world.now < heal + 300 * SEC {
        world.run_until(world.now + 100 * MS);
        let is_one = (0..number(count)).all(|id| world.view(id) == count);
        merged_ms = is_one.then(|| (world.now - heal) / MS);
    }
    Merged { was_split, merged_ms }
}

pub(crate) struct Bootstrapped {
    pub(crate) all_ms: Option<u64>,
    pub(crate) sizes: usize,
    pub(crate) bytes: u64,
}

/// One seed; the others start within one second (Rapid, figure 5).
pub(crate) fn bootstrap<P: Protocol>(count: usize, seed: u64) -> Bootstrapped {
    let mut world = World::<P>::new(count, seed);
    world.join(0, &[]);
    let from = 10 * SEC;
    for id in 1..number(count) {
        let at = from + world.rng.between(0, SEC - 1);
        world.at(at, move |world| world.join(id, &[0]));
    }
    let mut sizes = std::collections::BTreeSet::new();
    let mut all_ms = None;
    world.now = from;
    while all_ms.is_none() && world.now < from + 120 * SEC {
        world.run_until(world.now + 250 * MS);
        let views = (0..number(count)).map(|id| world.view(id));
        if (world.now - from).is_multiple_of(SEC) {
            sizes.extend(views.clone());
        }
        all_ms = views.clone().all(|view| view == count).then(|| (world.now - from) / MS);
    }
    let spent = world.traffic.datagram_bytes + world.traffic.stream_bytes;
    Bootstrapped { all_ms, sizes: sizes.len(), bytes: spent / count as u64 }
}
