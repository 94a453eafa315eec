//! 2,000 dispatches of one parameterized job on 5,000 nodes: entered, then each evaluation scheduled and
//! its plan applied.
use std::collections::BTreeMap;
use std::time::Duration;

use drover_core::fsm::{Command, Outcome};
use drover_core::types::{EvalId, Job, Launch, Parameterized};

use crate::shapes::{a_job, mock_node};
use crate::world::{Spent, World, cpu_now};
use crate::{Row, per_second, scan};

const NODES: usize = 5_000;
const COUNT: usize = 2_000;
/// Runs one after the other on the same state: the best is told, as of the other rows.
const RUNS: usize = 3;

/// See the module.
pub(crate) fn rows() -> Vec<Row> {
    let mut world = World::new((0..NODES).map(mock_node));
    let mut spec = a_job("feed", 1, (100, 64, 10));
    spec.launch = Launch::Parameterized(Parameterized {
        meta_required: ["input".to_owned()].into(),
        ..Parameterized::default()
    });
    world.run(Command::RegisterJob { spec: spec.into(), check_index: None });
    let (mut entering, mut working) = (Duration::MAX, Spent::default());
    let mut checked = 0;
    for run in 0..RUNS {
        let before = cpu_now();
        let evals: Vec<EvalId> = (0..COUNT).map(|nth| dispatch(&mut world, run, nth)).collect();
        entering = entering.min(cpu_now() - before);
        let mut spent = Spent::default();
        for (nth, eval) in evals.into_iter().enumerate() {
            world.keeps_before = nth.is_multiple_of(200);
            let (plan, one) = world.place(eval, 512);
            assert_eq!(plan.placements.len(), 1, "there is room for all");
            spent.add(one);
            if world.keeps_before {
                checked += scan::check(&world.before, &plan, 1);
            }
        }
        if run == 0 || spent.whole() < working.whole() {
            working = spent;
        }
    }
    let mut children = world.state.children_of("default", "feed");
    let first = children.next().expect("there are some").newest().spec.groups.clone();
    let is_shared = |child: &Job| child.newest().spec.groups.is_shared_with(&first);
    assert!(children.all(is_shared), "every child has its parent's groups, not a copy");
    vec![
        Row {
            what: format!("{NODES} nodes, {COUNT} dispatches: entered"),
            figure: per_second(COUNT, entering),
            checked: 0,
            nomad: "736 acks/s",
            goal: "20,000/s",
        },
        Row {
            what: format!("{NODES} nodes, {COUNT} dispatches: decided, checked and applied"),
            figure: format!("{}: {}", per_second(COUNT, working.whole()), working.parts(COUNT)),
            checked,
            nomad: "117 to 261 evals/s",
            goal: "20,000/s",
        },
    ]
}

fn dispatch(world: &mut World, run: usize, nth: usize) -> EvalId {
    let outcome = world.run(Command::DispatchJob {
        namespace: "default".to_owned(),
        job: "feed".to_owned(),
        payload: [7; 64].as_slice().into(),
        meta: BTreeMap::from([("input".to_owned(), nth.to_string())]),
        id_prefix: String::new(),
        token: format!("{run}-{nth}"),
    });
    let Outcome::Applied { eval: Some(eval), .. } = outcome else {
        panic!("not dispatched: {outcome:?}");
    };
    eval
}
