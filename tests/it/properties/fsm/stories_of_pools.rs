//! Node pools: who makes them, what refuses to let them go, and who may name them.
use drover_core::api::Rejection;
use drover_core::fsm::{Command, Outcome};
use drover_core::limits::{POOL_DESCRIPTION_BYTES_MAX, POOL_META_BYTES_MAX};
use drover_core::state::{Change, TableKind};
use drover_core::types::*;

use super::rig::*;

fn pool(name: &str) -> PoolSpec {
    PoolSpec { name: PoolName::of(name), ..PoolSpec::default() }
}

fn in_pool(name: &str, spec: JobSpec) -> JobSpec {
    JobSpec { node_pool: PoolName::of(name), ..spec }
}

impl World {
    fn upsert(&mut self, spec: PoolSpec) -> Outcome {
        self.run(Command::UpsertNodePool { spec })
    }

    fn delete(&mut self, name: &str) -> Outcome {
        self.run(Command::DeleteNodePool { pool: PoolName::of(name) })
    }

    fn try_register(&mut self, spec: JobSpec) -> Outcome {
        self.run(Command::RegisterJob { spec: spec.into(), check_index: None })
    }

    fn add_to(&mut self, name: &str, id: u128) -> Outcome {
        let spec = NodeSpec { pool: PoolName::of(name), ..node_spec(id) };
        self.run(Command::RegisterNode { spec: spec.into() })
    }

    fn names(&self) -> Vec<&str> {
        self.state.made_pools().map(|pool| pool.spec.name.as_str()).collect()
    }
}

/// What is to be mended, and how.
fn why(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Refused(Rejection::Invalid { field, why }) => format!("{field}: {why}"),
        Outcome::Refused(Rejection::NotFound { what }) => format!("no {what}"),
        other => format!("{other:?}"),
    }
}

fn is_done(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Applied { .. })
}

#[test]
fn a_pool_is_made_by_an_operator_or_by_the_first_node_that_names_it() {
    let mut world = World::new();
    assert_eq!(world.names(), [""; 0], "what is built in has no row");
    assert!(is_done(&world.upsert(pool("gpu"))));
    assert!(world.changes.contains(&Change::Pools));
    let made = world.state.index();
    assert!(is_done(&world.add_to("gpu", 1)));
    assert!(!world.changes.contains(&Change::Pools), "it was there");
    assert!(is_done(&world.add_to("spare", 2)));
    assert_eq!(world.names(), ["gpu", "spare"]);
    assert!(is_done(&world.add_to("default", 3)));
    assert_eq!(world.names(), ["gpu", "spare"]);
    let description = "with cards".to_owned();
    assert!(is_done(&world.upsert(PoolSpec { description: description.clone(), ..pool("gpu") })));
    let row = world.state.made_pool("gpu").expect("it is there").clone();
    assert_eq!((row.spec.description, row.create_index), (description.clone(), made));
    assert_eq!(row.modify_index, world.state.index());
    assert_eq!(world.state.table_index(TableKind::Pools), world.state.index());
    world.upsert(PoolSpec { description, ..pool("gpu") });
    let kept = world.state.made_pool("gpu").expect("it is there").modify_index;
    assert_eq!(kept, row.modify_index, "who says the same changes nothing");
}

#[test]
fn what_is_built_in_stays_as_it_is_and_names_are_short_words() {
    let mut world = World::new();
    for name in ["default", "all"] {
        let refused = world.upsert(PoolSpec { description: "mine".to_owned(), ..pool(name) });
        assert_eq!(why(&refused), format!("Name: pool \"{name}\" is built in and stays as it is"));
        assert_eq!(
            why(&world.delete(name)),
            format!("Name: pool \"{name}\" is built in and stays")
        );
    }
    let words = "a pool's name has 1 to 128 letters, digits, dashes and underscores";
    for name in ["", "a b", &"x".repeat(129)] {
        assert_eq!(why(&world.upsert(pool(name))), format!("Name: {words}"));
        assert_eq!(why(&world.add_to(name, 1)), format!("node_pool: {words}"));
        assert_eq!(
            why(&world.try_register(in_pool(name, service("web", 1)))),
            format!("node_pool: {words}")
        );
    }
    let long = "x".repeat(POOL_DESCRIPTION_BYTES_MAX + 1);
    let refused = world.upsert(PoolSpec { description: long, ..pool("gpu") });
    assert!(why(&refused).starts_with("Description: "), "{}", why(&refused));
    let meta = [("k".to_owned(), "x".repeat(POOL_META_BYTES_MAX))].into();
    let refused = world.upsert(PoolSpec { meta, ..pool("gpu") });
    assert!(why(&refused).starts_with("Meta: "), "{}", why(&refused));
    assert!(why(&world.add_to("all", 1)).contains("a node is in one pool"));
    assert_eq!(world.names(), [""; 0]);
    assert_eq!(world.state.nodes().count(), 0, "who is refused is not registered");
}

#[test]
fn a_job_names_a_pool_that_exists() {
    let mut world = World::new();
    let refused = world.try_register(in_pool("gpu", service("web", 1)));
    assert_eq!(
        why(&refused),
        "node_pool: there is no pool \"gpu\": make it by drover node pool apply, or by a node that \
         registers with it"
    );
    world.upsert(pool("gpu"));
    assert!(is_done(&world.try_register(in_pool("gpu", service("web", 1)))));
    assert!(is_done(&world.try_register(in_pool("all", service("api", 1)))));
}

#[test]
fn a_pool_goes_when_no_node_is_in_it_and_no_job_of_it_may_run() {
    let mut world = World::new();
    assert_eq!(why(&world.delete("gpu")), "no node pool");
    for id in 1..=7 {
        world.add_to("gpu", id);
    }
    for name in ["web", "api"] {
        world.try_register(in_pool("gpu", service(name, 1)));
    }
    let nodes = "Name: pool \"gpu\" has nodes: n1, n2, n3, n4, n5 and 2 more";
    assert_eq!(why(&world.delete("gpu")), nodes);
    for id in 1..=7 {
        world.add_to("default", id);
    }
    let jobs = "Name: pool \"gpu\" has jobs that are not stopped: web, api";
    assert_eq!(why(&world.delete("gpu")), jobs);
    for name in ["web", "api"] {
        let (namespace, job) = ("default".to_owned(), name.to_owned());
        world.run(Command::DeregisterJob { namespace, job, purge: false });
    }
    assert!(is_done(&world.delete("gpu")));
    assert_eq!(world.names(), [""; 0]);
    // What is stopped comes back only with its pool.
    let again = world.try_register(in_pool("gpu", service("web", 1)));
    assert!(why(&again).starts_with("node_pool: there is no pool"), "{}", why(&again));
}

#[test]
fn nobody_goes_back_to_a_version_whose_pool_is_gone() {
    let mut world = World::with_nodes(1);
    world.upsert(pool("gpu"));
    world.try_register(in_pool("gpu", service("web", 1)));
    let (namespace, job) = ("default".to_owned(), "web".to_owned());
    world.run(Command::SetJobStable {
        namespace: namespace.clone(),
        job: job.clone(),
        version: 0,
        stable: true,
    });
    let mut spec = service("web", 1);
    spec.groups[0].update.auto_revert = true;
    let (id, _) = world.register(spec);
    assert!(is_done(&world.delete("gpu")), "the newest version is elsewhere");
    let back = Command::RevertJob {
        namespace: namespace.clone(),
        job: job.clone(),
        version: 0,
        enforce_prior: None,
    };
    assert!(why(&world.run(back)).starts_with("node_pool: there is no pool"));
    // Nor does a deployment that fails.
    let eval = world.state.pending_evals_of_job(id).next_back().expect("one waits").id;
    let watched = vec![WatchedGroup { group: 0, canaries: 0 }];
    let plan = world.empty_plan(id, eval);
    world.plan(Plan { watched, placements: vec![placement(0, 0)], ..plan });
    let deployment = world.state.active_deployment(id).expect("it is watched").id;
    world.run(Command::FailDeployment { deployment });
    assert_eq!(world.job(id).newest().version, 1);
    let ended = world.state.deployment(deployment).expect("it is kept");
    let words = "not rolling back to stable job version 0 as node pool \"gpu\" is gone";
    assert!(ended.status_description.contains(words), "{}", ended.status_description);
}

#[test]
fn a_plan_that_comes_after_a_node_has_changed_its_pool_places_nothing_there() {
    let mut world = World::with_nodes(1);
    let (job, eval) = world.register(service("web", 1));
    let plan = world.empty_plan(job, eval);
    world.add_to("gpu", 1);
    world.mark(1, NodeStatus::Ready);
    let outcome = world.plan(Plan { placements: vec![placement(0, 0)], ..plan });
    assert!(matches!(outcome, Outcome::Applied { refused_placements: 1, eval: Some(_), .. }));
    assert_eq!(world.state.allocs_of_job(job).count(), 0);
}

#[test]
fn pools_come_back_with_a_saved_state_and_those_with_nodes_stay() {
    let mut world = World::with_nodes(1);
    world.upsert(pool("kept"));
    world.try_register(in_pool("kept", service("web", 1)));
    world.upsert(PoolSpec { description: "as it was".to_owned(), ..pool("told") });
    let saved = world.state.encode();
    world.run(Command::DeregisterJob {
        namespace: "default".to_owned(),
        job: "web".to_owned(),
        purge: true,
    });
    assert!(is_done(&world.delete("kept")));
    world.upsert(pool("told"));
    world.upsert(pool("empty"));
    world.add_to("lived-in", 2);
    assert!(is_done(&world.restore(&saved)));
    assert_eq!(world.names(), ["kept", "lived-in", "told"]);
    let told = world.state.made_pool("told").expect("it is back");
    assert_eq!(told.spec.description, "as it was");
    assert_eq!(told.modify_index, world.state.index(), "whoever watches it hears");
}
