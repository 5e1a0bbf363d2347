//! Tests of endpoints through the face that the pool sees.
//!
//! Owns: a rig with a clock and settings.

mod balance;
mod ejection;
mod properties;

use super::*;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

struct Rig {
    endpoints: Endpoints,
    now: Time,
    config: BreakerConfig,
    balance: BalanceConfig,
    random: Random,
}

impl Rig {
    /// A rig with endpoints 0 to `count`, which is past its slow starts.
    fn new(count: u32) -> Rig {
        let mut rig = Rig {
            endpoints: Endpoints::new(),
            now: Time::ZERO + 1000 * SECOND,
            config: BreakerConfig::default(),
            balance: BalanceConfig::default(),
            random: Random::new(11),
        };
        rig.set(count);
        rig
    }

    /// The endpoints are 0 to `count` from now on.
    fn set(&mut self, count: u32) -> Vec<EndpointId> {
        let ids: Vec<_> = (0..count).map(EndpointId).collect();
        self.endpoints.set_all(self.now, &ids, &self.balance)
    }

    fn began(&mut self, id: u32) {
        self.endpoints.began(self.now, EndpointId(id));
    }

    fn ended(&mut self, id: u32) {
        // What has a verdict ends first.
        let slot = self.endpoints.slots.get(id as usize);
        let judged = slot.is_some_and(|slot| slot.judged > 0);
        self.endpoints.ended(EndpointId(id), judged);
    }

    fn served(&mut self, id: u32, latency: Duration) -> Change {
        let (config, balance) = (&self.config, &self.balance);
        self.endpoints
            .served(self.now, EndpointId(id), latency, config, balance)
    }

    fn faulted(&mut self, id: u32) -> Change {
        let random = &mut self.random;
        self.endpoints
            .faulted(self.now, EndpointId(id), &self.config, random)
    }

    fn recanted(&mut self, id: u32) -> Change {
        let random = &mut self.random;
        self.endpoints
            .recanted(self.now, EndpointId(id), &self.config, random)
    }

    /// A call from its beginning to its end.
    fn call(&mut self, id: u32, good: bool) -> Change {
        self.began(id);
        let change = if good {
            self.served(id, MS)
        } else {
            self.faulted(id)
        };
        self.ended(id);
        change
    }

    fn connected(&mut self, id: u32) -> Change {
        self.endpoints
            .connected(self.now, EndpointId(id), &self.balance)
    }

    fn connect_failed(&mut self, id: u32) -> Change {
        let (config, random) = (&self.config, &mut self.random);
        self.endpoints
            .connect_failed(self.now, EndpointId(id), config, SECOND, random)
    }

    fn trial_abandoned(&mut self, id: u32) {
        let random = &mut self.random;
        self.endpoints
            .trial_abandoned(self.now, EndpointId(id), SECOND, random);
    }

    fn tick(&mut self) -> bool {
        self.endpoints.tick(self.now, &self.balance)
    }

    fn may_serve(&self, id: u32) -> bool {
        self.endpoints
            .may_serve(self.now, EndpointId(id), &self.config)
    }

    fn dialable(&self) -> bool {
        self.endpoints.dialable(self.now, &self.config)
    }

    fn choose_dial(&mut self, tried: &[u32]) -> Option<u32> {
        let tried: Vec<_> = tried.iter().copied().map(EndpointId).collect();
        let (config, balance) = (&self.config, &self.balance);
        self.endpoints
            .choose_dial(self.now, &tried, config, balance, &mut self.random)
            .map(|id| id.0)
    }

    fn choose_grant(&mut self, has_free: impl Fn(u32) -> bool) -> Option<u32> {
        let (config, balance) = (&self.config, &self.balance);
        let has_free = |id: EndpointId| has_free(id.0);
        self.endpoints
            .choose_grant(self.now, has_free, config, balance, &mut self.random)
            .map(|id| id.0)
    }

    /// Lets an endpoint fail until it is ejected.
    fn eject(&mut self, id: u32) {
        let calls = self.config.failures_max;
        let changes: Vec<_> = (0..calls).map(|_| self.call(id, false)).collect();
        assert_eq!(changes.last(), Some(&Change::Ejected), "{changes:?}");
    }

    /// Goes on to the moment when something is due; how long that was.
    fn wait(&mut self) -> Duration {
        let from = self.now;
        self.now = self.endpoints.next().expect("something is due").max(from);
        self.now.since(from)
    }
}
