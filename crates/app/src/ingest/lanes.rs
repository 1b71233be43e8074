//! Which event may be handed to the repository when.

use std::collections::{HashMap, HashSet};

use roas_domain::{ActivityEvent, EventId, MAX_EVENTS_PER_CALL, MemberKey};

/// An event and the line it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) line: u64,
    pub(super) event: ActivityEvent,
}

/// One lane for each member that has a call outstanding.
///
/// *Invariant:* of a member there is at most one call outstanding, and of an event id at most one
/// event. So whatever order the repository applies calls in, a member's events are applied in the
/// order of the input, and of two events with the same id the first one counts. The repository
/// needs no more than the port promises for that.
#[derive(Debug)]
pub(super) struct Lanes {
    /// The events that wait for the answer to their member's call.
    waiting: HashMap<MemberKey, Vec<Pending>>,
    ids: HashSet<EventId>,
    held: usize,
    capacity: usize,
}

impl Lanes {
    /// Lanes that hold at most `capacity` events together, those under way included.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            waiting: HashMap::new(),
            ids: HashSet::new(),
            held: 0,
            capacity,
        }
    }

    /// Whether `event` can be taken in now: there is room, and its id is not among those held.
    ///
    /// The same id a second time waits even for the same member's lane: redelivered messages lie
    /// far apart, so what waiting costs does not matter, and one rule is easier to trust than two.
    pub(super) fn has_room_for(&self, event: &ActivityEvent) -> bool {
        self.held < self.capacity && event.id.is_none_or(|id| !self.ids.contains(&id))
    }

    /// Takes an event in. Answers what is to be submitted at once: the event where its member's
    /// lane was free, else nothing.
    pub(super) fn admit(&mut self, pending: Pending) -> Option<Vec<Pending>> {
        self.held += 1;
        self.ids.extend(pending.event.id);
        if let Some(lane) = self.waiting.get_mut(&pending.event.member) {
            lane.push(pending);
            return None;
        }
        self.waiting.insert(pending.event.member, Vec::new());
        Some(vec![pending])
    }

    /// Lets go of a call's events, which have been answered. Answers what is to be submitted next
    /// for their member.
    pub(super) fn settle(&mut self, call: &[Pending]) -> Option<Vec<Pending>> {
        self.release(call);
        let member = call.first()?.event.member;
        let lane = self.waiting.get_mut(&member)?;
        if lane.is_empty() {
            self.waiting.remove(&member);
            return None;
        }
        if lane.len() <= MAX_EVENTS_PER_CALL {
            return Some(std::mem::take(lane));
        }
        Some(lane.drain(..MAX_EVENTS_PER_CALL).collect())
    }

    /// Drops every event that waits, so that nothing more is submitted.
    pub(super) fn abandon_waiting(&mut self) {
        for lane in self.waiting.values_mut() {
            self.held -= lane.len();
            for pending in lane.drain(..) {
                if let Some(id) = pending.event.id {
                    self.ids.remove(&id);
                }
            }
        }
    }

    fn release(&mut self, events: &[Pending]) {
        self.held -= events.len();
        for id in events.iter().filter_map(|pending| pending.event.id) {
            self.ids.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use roas_domain::testing::fixtures::{member, message, message_with_id};

    use super::*;

    fn pending(line: u64, event: ActivityEvent) -> Pending {
        Pending { line, event }
    }

    fn lines(call: Option<Vec<Pending>>) -> Vec<u64> {
        call.unwrap_or_default()
            .iter()
            .map(|pending| pending.line)
            .collect()
    }

    #[test]
    fn a_members_events_wait_for_the_call_before_and_go_together() {
        let mut lanes = Lanes::new(10);
        let mut admit = |line, user| lanes.admit(pending(line, message(member(1, user), 0)));
        let first = admit(1, 7);
        assert_eq!(lines(first.clone()), [1]);
        assert_eq!(lines(admit(2, 7)), [0; 0]);
        assert_eq!(lines(admit(3, 8)), [3]);
        assert_eq!(lines(admit(4, 7)), [0; 0]);
        let second = lanes.settle(&first.unwrap());
        assert_eq!(lines(second.clone()), [2, 4]);
        assert_eq!(lanes.settle(&second.unwrap()), None);
        assert_eq!(lanes.held, 1);
        assert_eq!(lanes.waiting.len(), 1);
    }

    #[test]
    fn waiting_events_take_up_room() {
        let mut lanes = Lanes::new(2);
        let event = message(member(1, 7), 0);
        let call = lanes.admit(pending(1, event)).unwrap();
        lanes.admit(pending(2, event));
        assert!(!lanes.has_room_for(&event));
        lanes.settle(&call);
        assert!(lanes.has_room_for(&event));
    }

    #[test]
    fn an_id_that_is_held_waits_in_any_lane() {
        let mut lanes = Lanes::new(10);
        let call = lanes
            .admit(pending(1, message_with_id(5, member(1, 7), 0)))
            .unwrap();
        assert!(!lanes.has_room_for(&message_with_id(5, member(2, 8), 0)));
        assert!(!lanes.has_room_for(&message_with_id(5, member(1, 7), 0)));
        assert!(lanes.has_room_for(&message_with_id(6, member(1, 7), 0)));
        assert!(lanes.has_room_for(&message(member(2, 8), 0)));
        lanes.settle(&call);
        assert!(lanes.has_room_for(&message_with_id(5, member(2, 8), 0)));
    }

    #[test]
    fn a_call_is_no_larger_than_the_port_allows() {
        let mut lanes = Lanes::new(usize::MAX);
        let event = message(member(1, 7), 0);
        let first = lanes.admit(pending(0, event)).unwrap();
        for line in 1..=MAX_EVENTS_PER_CALL as u64 + 1 {
            lanes.admit(pending(line, event));
        }
        let second = lanes.settle(&first).unwrap();
        assert_eq!(second.len(), MAX_EVENTS_PER_CALL);
        assert_eq!(
            lines(lanes.settle(&second)),
            [MAX_EVENTS_PER_CALL as u64 + 1]
        );
    }

    #[test]
    fn what_waits_can_be_abandoned_and_what_is_under_way_not() {
        let mut lanes = Lanes::new(10);
        let call = lanes
            .admit(pending(1, message_with_id(5, member(1, 7), 0)))
            .unwrap();
        lanes.admit(pending(2, message_with_id(6, member(1, 7), 0)));
        lanes.abandon_waiting();
        assert_eq!(lanes.held, 1);
        assert!(lanes.has_room_for(&message_with_id(6, member(1, 7), 0)));
        assert!(!lanes.has_room_for(&message_with_id(5, member(1, 7), 0)));
        assert_eq!(lanes.settle(&call), None);
        assert_eq!((lanes.held, lanes.ids.len()), (0, 0));
    }
}
