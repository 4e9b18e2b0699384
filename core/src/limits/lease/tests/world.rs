//! Replicas, Redis and the messages between them, in a time of their own.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::super::{Claim, Leases, Next, Refill, Ticks};
use crate::clock::{Monotonic, Timestamp};
use crate::limits::bucket::Verdict;
use crate::limits::{Quota, Wanted};

/// What is done to a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    /// Microseconds to Redis, and back.
    pub(super) there: u64,
    pub(super) back: u64,
    pub(super) fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Answered,
    RequestLost,
    AnswerLost,
}

/// One admission: when, by Redis' clock, and how many tokens.
pub(super) type Admitted = (u64, u64);

pub(super) struct World {
    /// Nanoseconds; the time of all.
    time: u64,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    /// By their number.
    pending: std::collections::HashMap<u64, Event>,
    number: u64,
    quotas: Vec<Quota>,
    /// What Redis keeps.
    states: Vec<Ticks>,
    replicas: Vec<Replica>,
    ways: std::iter::Cycle<std::vec::IntoIter<Way>>,
    /// In microseconds.
    timeout: u64,
    /// Of each bucket.
    pub(super) admitted: Vec<Vec<Admitted>>,
    pub(super) requests: u64,
    /// Questions to Redis.
    pub(super) questions: u64,
}

struct Replica {
    leases: Leases,
    /// What its clock showed when the world began, in nanoseconds.
    offset: u64,
    boot: u64,
    waiting: Vec<Request>,
}

struct Request {
    replica: usize,
    boot: u64,
    /// Places of its buckets.
    buckets: Vec<usize>,
    wanted: Vec<Wanted>,
    claim: Claim,
    waits: u32,
    /// When it took from leases.
    at: u64,
}

enum Event {
    Arrival { replica: usize, buckets: Vec<usize>, cost: u64 },
    Crash { replica: usize, offset: u64 },
    RefillAtRedis { replica: usize, boot: u64, refills: Vec<Refill>, way: Way, sent: u64 },
    RefillOver { replica: usize, boot: u64, given: Vec<(Refill, u64, Ticks, Ticks)>, trips: bool },
    TakeAtRedis { request: Request, way: Way },
    TakeOver { request: Request, at: Option<u64> },
}

impl World {
    /// The offsets are those of the replicas' clocks.
    pub(super) fn new(quotas: Vec<Quota>, offsets: &[u64], ways: Vec<Way>, timeout: u64) -> Self {
        let replica =
            |offset: &u64| Replica { leases: Leases::new(), offset: *offset, boot: 0, waiting: Vec::new() };
        Self {
            time: 0,
            events: BinaryHeap::new(),
            pending: std::collections::HashMap::new(),
            number: 0,
            states: vec![Ticks::default(); quotas.len()],
            admitted: vec![Vec::new(); quotas.len()],
            quotas,
            replicas: offsets.iter().map(replica).collect(),
            ways: ways.into_iter().cycle(),
            timeout,
            requests: 0,
            questions: 0,
        }
    }

    pub(super) fn arrive(&mut self, at: u64, replica: usize, buckets: Vec<usize>, cost: u64) {
        self.at(at, Event::Arrival { replica, buckets, cost });
    }

    pub(super) fn crash(&mut self, at: u64, replica: usize, offset: u64) {
        self.at(at, Event::Crash { replica, offset });
    }

    /// Lets everything happen.
    pub(super) fn run(&mut self) {
        while let Some(Reverse((at, number))) = self.events.pop() {
            self.time = at;
            let event = self.pending.remove(&number).expect("every number is of an event");
            self.happen(event);
        }
    }

    fn at(&mut self, time: u64, event: Event) {
        self.number += 1;
        self.events.push(Reverse((time, self.number)));
        self.pending.insert(self.number, event);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrival { replica, buckets, cost } => {
                self.requests += 1;
                let wanted: Vec<_> =
                    buckets.iter().map(|&n| super::wanted(n, self.quotas[n], cost)).collect();
                let here = &self.replicas[replica];
                let claim = here.leases.claim(&wanted);
                let boot = here.boot;
                self.go_on(Request { replica, boot, buckets, wanted, claim, waits: 0, at: 0 });
            }
            Event::Crash { replica, offset } => {
                let here = &mut self.replicas[replica];
                here.leases = Leases::new();
                here.waiting.clear();
                here.boot += 1;
                here.offset = offset;
            }
            Event::RefillAtRedis { replica, boot, refills, way, sent } => {
                self.questions += 1;
                let now = self.redis_now();
                let refill = |refill: Refill| {
                    let place = super::place(&refill.bucket);
                    let (given, state) = refill.ask.given(self.quotas[place], self.states[place], now);
                    self.states[place] = state;
                    (refill, given, state, now)
                };
                let given: Vec<_> = refills.into_iter().map(refill).collect();
                let over = self.time + way.back * 1000;
                let late = over > sent + self.timeout * 1000;
                if way.fate == Fate::Answered && !late {
                    self.at(over, Event::RefillOver { replica, boot, given, trips: false });
                } else {
                    // Redis gave, and nobody hears of it.
                    let given =
                        given.into_iter().map(|(refill, ..)| (refill, 0, Ticks(0), Ticks(0))).collect();
                    let over = self.time.max(sent + self.timeout * 1000);
                    self.at(over, Event::RefillOver { replica, boot, given, trips: true });
                }
            }
            Event::RefillOver { replica, boot, given, trips } => {
                for (refill, given, state, now) in given {
                    if !trips {
                        refill.done(given, state, now);
                    }
                }
                if self.replicas[replica].boot == boot {
                    for mut request in std::mem::take(&mut self.replicas[replica].waiting) {
                        request.waits += 1;
                        self.go_on(request);
                    }
                }
            }
            Event::TakeAtRedis { request, way } => {
                self.questions += 1;
                let taken = self.take(&request);
                let at = taken.then(|| self.redis_now().0);
                if way.fate == Fate::Answered {
                    self.at(self.time + way.back * 1000, Event::TakeOver { request, at });
                }
            }
            Event::TakeOver { request, at } => {
                if let Some(at) = at
                    && self.replicas[request.replica].boot == request.boot
                {
                    self.admit(request, at);
                }
            }
        }
    }

    /// As the take path does.
    fn go_on(&mut self, mut request: Request) {
        let now = self.now_at(request.replica);
        let next = request.claim.ask(now, request.waits < 2);
        request.at = self.redis_now().0;
        let refills = request.claim.refills(now);
        if !refills.is_empty() {
            let (replica, boot, sent) = (request.replica, request.boot, self.time);
            let way = self.ways.next().expect("endless");
            if way.fate == Fate::RequestLost {
                let given = refills.into_iter().map(|refill| (refill, 0, Ticks(0), Ticks(0))).collect();
                self.at(sent + self.timeout * 1000, Event::RefillOver { replica, boot, given, trips: true });
            } else {
                let there = sent + way.there * 1000;
                self.at(there, Event::RefillAtRedis { replica, boot, refills, way, sent });
            }
        }
        match next {
            Next::Wait => self.replicas[request.replica].waiting.push(request),
            Next::Dry => {}
            Next::Paid => {
                let at = request.at;
                self.admit(request, at);
            }
            Next::Direct => {
                let way = self.ways.next().expect("endless");
                if way.fate != Fate::RequestLost {
                    self.at(self.time + way.there * 1000, Event::TakeAtRedis { request, way });
                }
            }
        }
    }

    /// As take.lua does.
    fn take(&mut self, request: &Request) -> bool {
        let now = self.redis_now();
        let mut next = Vec::new();
        for (&bucket, wanted) in request.buckets.iter().zip(&request.wanted) {
            match wanted.quota.take(self.states[bucket], now, wanted.cost) {
                Verdict::Admitted(state) => next.push((bucket, state)),
                _ => return false,
            }
        }
        for (bucket, state) in next {
            self.states[bucket] = state;
        }
        true
    }

    /// When Redis took it, or leases paid.
    fn admit(&mut self, request: Request, at: u64) {
        for (&bucket, wanted) in request.buckets.iter().zip(&request.wanted) {
            self.admitted[bucket].push((at, wanted.cost));
        }
        request.claim.keep();
    }

    fn redis_now(&self) -> Ticks {
        Ticks::at(Timestamp::from_micros(1_793_534_400_000_000 + self.time / 1000))
    }

    fn now_at(&self, replica: usize) -> Ticks {
        Ticks::monotonic(Monotonic::from_micros((self.time + self.replicas[replica].offset) / 1000))
    }
}
