//! How often somebody may ask: a tenant's requests, and an address's tokens that open nothing. A
//! bucket that fills at a steady rate up to the burst, and of which each takes one.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    clock::Stopwatch,
    config::server::{RequestLimit, ServerSpec},
    ids::TenantId,
};

/// Of so many addresses it is known what they tried.
const MOST_ADDRESSES: usize = 10_000;

/// All buckets.
#[derive(Debug)]
pub struct Limits {
    since: Stopwatch,
    tenants: Mutex<HashMap<Option<TenantId>, Bucket>>,
    addresses: Mutex<HashMap<IpAddr, Bucket>>,
}

/// What is left, and when that was so.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Duration,
}

impl Bucket {
    /// The same, as it is by now.
    fn filled(mut self, limit: RequestLimit, now: Duration) -> Self {
        let gained = now.saturating_sub(self.at).as_secs_f64() * limit.a_second;
        self.left = (self.left + gained).min(f64::from(limit.burst));
        self.at = now;
        self
    }

    /// How long until there is one.
    fn wait(self, limit: RequestLimit) -> Option<Duration> {
        (self.left < 1.0).then(|| Duration::from_secs_f64((1.0 - self.left) / limit.a_second))
    }
}

fn lock<K>(buckets: &Mutex<HashMap<K, Bucket>>) -> MutexGuard<'_, HashMap<K, Bucket>> {
    buckets.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bucket<K: Eq + Hash>(
    all: &HashMap<K, Bucket>,
    key: &K,
    limit: RequestLimit,
    now: Duration,
) -> Bucket {
    let full = Bucket { left: f64::from(limit.burst), at: now };
    all.get(key).map_or(full, |bucket| bucket.filled(limit, now))
}

impl Limits {
    pub(super) fn new() -> Self {
        Self { since: Stopwatch::start(), tenants: Mutex::default(), addresses: Mutex::default() }
    }

    /// Counts a request of a tenant's token, or of one for all tenants.
    ///
    /// # Errors
    /// If there were too many: how long to wait.
    pub fn request(&self, spec: &ServerSpec, of: Option<&TenantId>) -> Result<(), Duration> {
        let limit = spec.requests_of(of);
        let (key, now) = (of.cloned(), self.since.elapsed());
        let mut all = lock(&self.tenants);
        let mut own = bucket(&all, &key, limit, now);
        let wait = own.wait(limit);
        own.left -= if wait.is_none() { 1.0 } else { 0.0 };
        all.insert(key, own);
        wait.map_or(Ok(()), Err)
    }

    /// Whether an address may try a token.
    ///
    /// # Errors
    /// If too many of its tokens opened nothing: how long to wait.
    pub fn may_try(&self, spec: &ServerSpec, address: IpAddr) -> Result<(), Duration> {
        let Some(limit) = spec.failed_tokens() else { return Ok(()) };
        let all = lock(&self.addresses);
        bucket(&all, &whose(address), limit, self.since.elapsed()).wait(limit).map_or(Ok(()), Err)
    }

    /// Counts a token that opened nothing.
    pub fn failed(&self, spec: &ServerSpec, address: IpAddr) {
        let Some(limit) = spec.failed_tokens() else { return };
        let (key, now) = (whose(address), self.since.elapsed());
        let mut all = lock(&self.addresses);
        let mut own = bucket(&all, &key, limit, now);
        own.left = (own.left - 1.0).max(0.0);
        if all.len() >= MOST_ADDRESSES && !all.contains_key(&key) {
            make_room(&mut all, limit, now);
        }
        all.insert(key, own);
    }
}

/// Forgets who has a full bucket again; if nobody has, who has the most.
fn make_room(all: &mut HashMap<IpAddr, Bucket>, limit: RequestLimit, now: Duration) {
    let left = |bucket: &Bucket| bucket.filled(limit, now).left;
    all.retain(|_, bucket| left(bucket) < f64::from(limit.burst));
    if all.len() >= MOST_ADDRESSES {
        let most = all.iter().max_by(|(_, a), (_, b)| left(a).total_cmp(&left(b)));
        if let Some(address) = most.map(|(address, _)| *address) {
            all.remove(&address);
        }
    }
}

/// Who has one address of IPv6 has the 64 bits after its network too.
fn whose(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_fills_at_its_rate_up_to_the_burst() {
        let limit = RequestLimit { a_second: 2.0, burst: 3 };
        let empty = Bucket { left: 0.0, at: Duration::from_secs(10) };
        assert_eq!(empty.wait(limit), Some(Duration::from_millis(500)));
        let at = |seconds| empty.filled(limit, Duration::from_secs(seconds));
        assert_eq!((at(11).left, at(11).wait(limit)), (2.0, None));
        assert_eq!(at(100).left, 3.0);
        assert_eq!(at(1).left, 0.0);
    }

    #[test]
    fn addresses_that_tried_the_most_are_forgotten_last() {
        let spec = ServerSpec { failed_tokens_per_minute: 3, ..ServerSpec::default() };
        let limits = Limits::new();
        let address = |n: u32| IpAddr::from(n.to_be_bytes());
        let guesser = address(u32::MAX);
        for _ in 0..3 {
            assert!(limits.may_try(&spec, guesser).is_ok());
            limits.failed(&spec, guesser);
        }
        let wait = limits.may_try(&spec, guesser).unwrap_err();
        assert!(wait > Duration::from_secs(10) && wait <= Duration::from_secs(20), "{wait:?}");
        for n in 0..u32::try_from(MOST_ADDRESSES).unwrap() + 10 {
            limits.failed(&spec, address(n));
        }
        assert_eq!(lock(&limits.addresses).len(), MOST_ADDRESSES);
        assert!(limits.may_try(&spec, guesser).is_err());
        // Whoever has a network of IPv6 has all of its addresses.
        let same = whose("2001:db8::1".parse().unwrap());
        assert_eq!(same, whose("2001:db8::ffff".parse().unwrap()));
        assert_eq!(whose("::ffff:10.0.0.1".parse().unwrap()).to_string(), "10.0.0.1");
    }
}
