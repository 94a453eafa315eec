//! Quorums against the definition: some set of servers that holds a majority of every list.
use drover_core::raft::{Configuration, Tally};
use drover_core::types::ServerId;
use proptest::collection::vec;
use proptest::prelude::*;

fn is_quorum(configuration: &Configuration, who: impl Fn(ServerId) -> bool) -> bool {
    let majority = |voters: &[ServerId]| {
        voters.is_empty() || voters.len() < 2 * voters.iter().filter(|&&id| who(id)).count()
    };
    majority(&configuration.voters) && majority(&configuration.outgoing)
}

fn configuration(voters: u16, outgoing: u16) -> Configuration {
    let ids = |bits: u16| (0..9).filter(|bit| bits >> bit & 1 == 1).map(ServerId).collect();
    Configuration { voters: ids(voters), outgoing: ids(outgoing), learners: Vec::new() }
}

proptest! {
    #[test]
    fn what_a_quorum_reached_is_the_most_that_a_majority_reached(
        voters in 1_u16..512,
        outgoing in 0_u16..512,
        reached in vec(0_u64..6, 9),
    ) {
        let configuration = configuration(voters, outgoing);
        let of = |id: ServerId| reached[usize::try_from(id.0).unwrap()];
        let most = (0..6).rev().find(|&least| is_quorum(&configuration, |id| least <= of(id)));
        prop_assert_eq!(Some(configuration.quorum_reached(of)), most);
    }

    #[test]
    fn an_election_is_won_by_a_quorum_and_lost_when_none_can_be_had(
        voters in 1_u16..512,
        outgoing in 0_u16..512,
        said in vec(prop::option::of(any::<bool>()), 9),
    ) {
        let configuration = configuration(voters, outgoing);
        let of = |id: ServerId| said[usize::try_from(id.0).unwrap()];
        let expected = if is_quorum(&configuration, |id| of(id) == Some(true)) {
            Tally::Won
        } else if is_quorum(&configuration, |id| of(id) != Some(false)) {
            Tally::Open
        } else {
            Tally::Lost
        };
        prop_assert_eq!(configuration.tally(of), expected);
    }

    #[test]
    fn two_quorums_share_a_server(
        voters in 1_u16..512,
        outgoing in 0_u16..512,
        one in 0_u16..512,
        other in 0_u16..512,
    ) {
        let configuration = configuration(voters, outgoing);
        let wins = |set: u16| configuration.tally(|id| Some(set >> id.0 & 1 == 1)) == Tally::Won;
        if wins(one) && wins(other) {
            prop_assert_ne!(one & other, 0);
        }
    }
}
