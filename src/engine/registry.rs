//! Upstreams made on the fly for absolute URLs: found again, bounded in number, given up in the order of
//! their last use.

use crate::config::UpstreamUrl;
use crate::error::{Error, ErrorKind};
use crate::shard::upstream::{UpstreamId, UpstreamShared};
use std::collections::{BTreeMap, HashMap};
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

    /// The upstream at `url`, if it is known; `begin` marks it as in use while nobody can give it up.
    pub(crate) fn find<G>(
        &self,
        url: &UpstreamUrl,
        begin: impl Fn(&Arc<UpstreamShared>) -> G,
    ) -> Option<(Arc<UpstreamShared>, G)> {
        self.lock().find(url, begin)
    }

    /// As [`find`](Registry::find), adding `made` if nobody else has added one meanwhile. If another one
    /// had to go for it, that one's id comes along.
    pub(crate) fn find_or_add<G>(
        &self,
        url: &UpstreamUrl,
        made: Arc<UpstreamShared>,
        begin: impl Fn(&Arc<UpstreamShared>) -> G,
    ) -> Result<(Arc<UpstreamShared>, G, Option<UpstreamId>), Error> {
        let mut known = self.lock();
        if let Some((upstream, guard)) = known.find(url, &begin) {
            return Ok((upstream, guard, None));
        }
        let given_up = if known.by_url.len() >= self.upstreams_max {
            Some(known.give_one_up()?)
        } else {
            None
        };
        let guard = begin(&made);
        known.add(url, made.clone());
        Ok((made, guard, given_up))
    }

    /// All that are known.
    pub(crate) fn all(&self) -> Vec<Arc<UpstreamShared>> {
        let known = self.lock();
        known
            .by_url
            .values()
            .map(|entry| entry.upstream.clone())
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Every change under the lock is whole before anything can panic.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn find<G>(
        &mut self,
        url: &UpstreamUrl,
        begin: impl Fn(&Arc<UpstreamShared>) -> G,
    ) -> Option<(Arc<UpstreamShared>, G)> {
        let Known { by_url, by_use, .. } = self;
        let entry = by_url.get_mut(url)?;
        self.uses += 1;
        by_use.remove(&entry.last_use);
        by_use.insert(self.uses, url.clone());
        entry.last_use = self.uses;
        let upstream = entry.upstream.clone();
        let guard = begin(&upstream);
        Some((upstream, guard))
    }

    fn add(&mut self, url: &UpstreamUrl, upstream: Arc<UpstreamShared>) {
        self.uses += 1;
        let last_use = self.uses;
        self.by_use.insert(last_use, url.clone());
        let entry = Entry { upstream, last_use };
        self.by_url.insert(url.clone(), entry);
    }

    /// Gives up the one unused longest.
    fn give_one_up(&mut self) -> Result<UpstreamId, Error> {
        let unused = self.by_use.iter().find(|(_, url)| {
            self.by_url
                .get(*url)
                .is_some_and(|entry| !entry.upstream.is_in_use())
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
