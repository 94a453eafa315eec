//! Where a server is dialled, and where not any more.
//!
//! Invariants
//! - what is configured is dialled for as long as the server runs.
use alloc::string::String;
use alloc::vec::Vec;

use super::swim::State;
use super::{Gossip, Output, Scope};
use crate::emit::Emit;
use crate::time::MonoTime;
use crate::types::ServerId;

/// For so long a server looks where others were when it ran last.
const REMEMBERED_MS: u64 = 600_000;

impl Gossip {
    /// At its start a server looks where it is told to, and where others were when it ran last.
    pub(super) fn dial_first(&mut self, now: MonoTime, out: &mut impl Emit<Output>) {
        self.remembered_until = Some(now.plus_ms(REMEMBERED_MS));
        let all = self.join.iter().chain(&self.remembered);
        for address in all.filter(|address| **address != self.own.address) {
            out.emit(Output::Dial(address.clone()));
        }
    }

    /// Those of its own region are dialled by that region's membership.
    pub(super) fn dial(&mut self, id: ServerId, out: &mut impl Emit<Output>) {
        let Some(said) = self.swim.said(id) else { return };
        let is_ours = self.scope == Scope::Region || said.region != self.own.region;
        if !is_ours || self.dialled.get(&id) == Some(&said.address) {
            return;
        }
        let address = said.address.clone();
        if let Some(old) = self.dialled.remove(&id) {
            // Somebody else may be there now.
            self.forget_address(old, out);
        }
        if !self.links.contains(&id) {
            self.dialled.insert(id, address.clone());
            out.emit(Output::Dial(address));
        }
    }

    /// Who has left, or is remembered by nobody, is not dialled any more; nor is anybody where it is not now.
    pub(super) fn forget_gone(&mut self, now: MonoTime, out: &mut impl Emit<Output>) {
        let is_gone = |id: ServerId| self.swim.state(id).is_none_or(|state| state == State::Left);
        let is_elsewhere = |id: ServerId, address: &String| {
            self.swim.said(id).is_some_and(|said| said.address != *address)
        };
        let gone = self.dialled.iter().filter(|&(&id, at)| is_gone(id) || is_elsewhere(id, at));
        for id in gone.map(|(&id, _)| id).collect::<Vec<_>>() {
            if let Some(address) = self.dialled.remove(&id) {
                self.forget_address(address, out);
            }
        }
        if self.remembered_until.is_some_and(|until| until <= now) {
            // Whoever is there has been met by now, or will dial itself.
            for address in core::mem::take(&mut self.remembered) {
                self.forget_address(address, out);
            }
        }
    }

    fn forget_address(&self, address: String, out: &mut impl Emit<Output>) {
        let is_wanted =
            self.join.contains(&address) || self.dialled.values().any(|other| *other == address);
        if !is_wanted {
            out.emit(Output::Forget(address));
        }
    }
}
