//! A sample of every request.
use super::*;

pub(super) fn requests() -> Vec<Request> {
    let (namespace, job) = ("default".to_owned(), "web".to_owned());
    let spec = Arc::new(job_spec("web", JobKind::Service, 2));
    let deployment = DeploymentId(7);
    vec![
        Request::RegisterJob { spec, check_index: Some(Index(5)) },
        Request::DeregisterJob { namespace: namespace.clone(), job: job.clone(), purge: true },
        Request::EvaluateJob { namespace, job },
        Request::StopAlloc { alloc: AllocId(9) },
        Request::RegisterNode { spec: node_spec(NodeId(8)).into() },
        Request::SetNodeEligible { node: NodeId(8), eligible: false },
        Request::UpdateAllocs { node: NodeId(8), updates: vec![update()] },
        Request::CollectGarbage,
        Request::ReadPoint { consistency: Consistency::Consistent },
        Request::Order(Order::TransferLead { heir: Heir::AnyBut(ServerId(1)) }),
        Request::ForceOut { server: ServerId(3), prune: true },
        Request::RestorePart { of: Digest(5), nth: 1, bytes: [1, 2, 3].into() },
        Request::Restore { of: Digest(5), parts: 2 },
        Request::PromoteDeployment { deployment, groups: vec!["group".into()] },
        Request::PauseDeployment { deployment, pause: true },
        Request::FailDeployment { deployment },
        Request::SetAllocHealth {
            deployment,
            healthy: vec![AllocId(9)],
            unhealthy: vec![AllocId(8)],
        },
        Request::RevertJob {
            namespace: "default".into(),
            job: "web".into(),
            version: 1,
            enforce_prior: Some(2),
        },
        Request::SetJobStable {
            namespace: "default".into(),
            job: "web".into(),
            version: 1,
            stable: true,
        },
        Request::ForcePeriodic { namespace: "default".into(), job: "web".into() },
        Request::DispatchJob {
            namespace: "default".into(),
            job: "web".into(),
            payload: [1, 2].into(),
            meta: BTreeMap::from([("input".into(), "a".into())]),
            id_prefix: "night".into(),
            token: "t1".into(),
        },
        Request::ScaleJob {
            namespace: "default".into(),
            job: "web".into(),
            group: "web".into(),
            count: Some(4),
            message: "more".into(),
            error: false,
            meta_json: "{}".into(),
        },
        Request::SetNodeDrain { node: NodeId(8), spec: None, mark_eligible: true, meta: [].into() },
        Request::SetSchedulerConfig { config: SchedulerConfig::default(), check_index: None },
        Request::UpsertNodePool { spec: PoolSpec::default() },
        Request::DeleteNodePool { pool: PoolName::of("gpu") },
        Request::Rebalance { moves: vec![AllocId(8), AllocId(9)], gain_permille_min: 50 },
        Request::SetAutopilotConfig {
            config: AutopilotConfig::default(),
            check_index: Some(Index(3)),
        },
    ]
}
