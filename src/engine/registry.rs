//! Upstreams made on the fly for absolute URLs: found again, bounded in number, given up in the order of
//! their last use.

use crate::config::UpstreamUrl;
use crate::error::{Error, ErrorKind};
use crate::shard::upstream::{UpstreamId, UpstreamShared};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All upstreams that were made on the fly. Locked, and never from a shard's thread.
pub(crate) struct Registry {
    upstreams_max: usize,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    by_url: HashMap<UpstreamUrl, Entry>,
    /// When each was used last, oldest first.
    by_use: BTreeMap<u64, UpstreamUrl>,
    uses: u64,
}

struct Entry {
    upstream: Arc<UpstreamShared>,
    last_use: u64,
}

impl Registry {
    pub(crate) fn new(upstreams_max: usize) -> Registry {
        Registry {
            upstreams_max,
            known: Mutex::default(),
        }
    }

    /// The upstream at `url`, made by `make` if it is not known; `begin` marks it as in use while
    /// nobody can give it up. If another one had to go for it, that one's id comes along.
    pub(crate) fn find_or_make<G>(
        &self,
        url: &UpstreamUrl,
        make: impl FnOnce(Arc<str>) -> Result<Arc<UpstreamShared>, Error>,
        begin: impl FnOnce(&Arc<UpstreamShared>) -> G,
    ) -> Result<(Arc<UpstreamShared>, G, Option<UpstreamId>), Error> {
        let mut known = self.lock();
        known.uses += 1;
        let now = known.uses;
        let Known { by_url, by_use, .. } = &mut *known;
        if let Some(entry) = by_url.get_mut(url) {
            by_use.remove(&entry.last_use);
            by_use.insert(now, url.clone());
            entry.last_use = now;
            let upstream = entry.upstream.clone();
            let guard = begin(&upstream);
            return Ok((upstream, guard, None));
        }
        // Made first: one that cannot be made costs nobody his place.
        let upstream = make(url.to_string().into())?;
        let given_up = if by_url.len() >= self.upstreams_max {
            Some(known.give_one_up()?)
        } else {
            None
        };
        let guard = begin(&upstream);
        known.by_use.insert(now, url.clone());
        known.by_url.insert(
            url.clone(),
            Entry {
                upstream: upstream.clone(),
                last_use: now,
            },
        );
        Ok((upstream, guard, given_up))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Every change under the lock is whole before anything can panic.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Gives up the one unused longest.
    fn give_one_up(&mut self) -> Result<UpstreamId, Error> {
        let unused = self.by_use.iter().find(|(_, url)| {
            self.by_url
                .get(*url)
                .is_some_and(|entry| entry.upstream.calls.load(Ordering::Relaxed) == 0)
        });
        let Some((&last_use, url)) = unused else {
            let what = format!(
                "all {} upstreams made on the fly are in use (upstreams_max)",
                self.by_url.len()
            );
            return Err(Error::new(ErrorKind::Refused, what));
        };
        let url = url.clone();
        self.by_use.remove(&last_use);
        let entry = self
            .by_url
            .remove(&url)
            .expect("both maps hold the same upstreams");
        Ok(entry.upstream.id)
    }
}
