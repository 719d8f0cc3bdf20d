//! A page that was rendered before the process started, in place of a render.

use std::sync::Arc;

use super::lead::{Landing, Lead, Purpose};
use crate::backing::{Job, Seek};
use crate::clock::{WallTime, micros};
use crate::entry::Kept;
use crate::entry::codec::Made;
use crate::ledger::{CanonicalPath, Covered, Generation, Since, Verdict};
use crate::memory::Page;
use crate::policy::freshness::{DEFAULT_EXPIRE, Freshness, Window};
use crate::policy::tag::Tag;
use crate::prerender::{CLOCKS_DIFFER, NoSeed, Record, Seed, Unusable};
use crate::telemetry;
use crate::testing::rules::{Rule, holds};

impl Lead {
    /// The seed of the page, if there is one and it may be used; `None`: it is rendered.
    pub(super) async fn seed(&self) -> Option<Landing> {
        let (shared, key) = (&self.shared, &self.context.key);
        let Purpose::First { .. } = self.purpose else { return None };
        let seeds = shared.seeds.as_ref()?;
        let seed = match seeds.find(&key.parts(), self.max_body_bytes(), &shared.time).await {
            Ok(seed) => seed,
            Err(NoSeed::Silent) => return None,
            Err(NoSeed::Manifest(problem)) => {
                let for_good = matches!(problem, Unusable::Never(_));
                telemetry::seeds_failed(shared, &seeds.name(), &problem.to_string(), for_good);
                return None;
            }
            Err(NoSeed::Page(problem)) => {
                telemetry::seed_failed(shared, &self.recipe, key, &problem.to_string());
                return None;
            }
        };
        match self.plant(seed).await {
            Ok((page, tags, made)) => {
                telemetry::seeded(shared, &self.recipe, key);
                let page = Arc::new(page);
                if let Some(made) = made {
                    let over = self.useless.get().copied();
                    let job = Job::Page { page: Arc::clone(&page), tags, made, over };
                    self.tell(job, self.take_lease());
                }
                Some(Landing::Found(page))
            }
            Err(why) => {
                telemetry::not_seeded(&self.recipe, key, why);
                None
            }
        }
    }

    /// The page that a seed makes, by the rules of live responses, with what the store is to know of it; or why there is
    /// none.
    async fn plant(
        &self,
        Seed { record, body, built_at }: Seed,
    ) -> Result<(Page, Vec<Tag>, Option<Made>), &'static str> {
        let Record { path, status, mut headers, revalidate, expire, tags, .. } = record;
        if self.is_forgotten(built_at) {
            return Err("older than what its store remembers of invalidations");
        }
        let window = Window::new(built_at, revalidate, expire.unwrap_or(DEFAULT_EXPIRE));
        if window.at(self.shared.time.wall()) == Freshness::Expired {
            return Err("expired");
        }
        if !self.may_be_kept(status, &mut headers) {
            return Err("its response may not be shared");
        }
        let tags = if holds(Rule::SeedTags) { tags } else { Vec::new() };
        let tags = self.with_tags_of_route(tags).ok_or("too many tags")?;
        // What another tool has beside a page lives and ends with it.
        let beside =
            Some(&*path).filter(|path| CanonicalPath::new(path) != CanonicalPath::new(self.context.key.parts().path));
        let covered = self.unmarked(built_at.0, &tags, beside).await.ok_or("invalidated, or nobody knows")?;
        // Whoever finds it in the store does not know that page.
        let place = covered.place().filter(|_| beside.is_none());
        let kept = Kept { status, headers: &headers, body, besides: 0 };
        Ok((
            self.brought(kept, window, false, covered, tags.clone()),
            tags,
            place.map(|place| Made { place, begun: built_at.0 }),
        ))
    }

    /// Whether there may have been a mark on what was built then that the store has forgotten.
    fn is_forgotten(&self, built_at: WallTime) -> bool {
        let Some(backing) = &self.shared.backing else { return false };
        let age = built_at.until(self.shared.time.wall());
        age.saturating_add(CLOCKS_DIFFER) >= backing.guard.profile().remembers
    }

    /// What marks can hit of a page that was built then, and of the page `beside` which it is; `None` if a mark has hit it,
    /// or if that cannot be known.
    async fn unmarked(&self, built_at: u64, tags: &[Tag], beside: Option<&str>) -> Option<Covered> {
        let (view, parts) = (&self.shared.ledger.view, self.context.key.parts());
        let mut names = view.names(parts.path, parts.pattern, tags.iter().map(Tag::as_str));
        if let Some(path) = beside {
            names = names.into_iter().chain(view.names(path, "", std::iter::empty())).collect();
        }
        let covered = if let Some(mut seek) = Seek::new(&self.shared, &self.context.key) {
            seek.verified().await?;
            // A mark that was made after the build beats it, whatever the clocks.
            let differ = if holds(Rule::SeedClocks) { micros(CLOCKS_DIFFER) } else { 0 };
            let limit = if holds(Rule::SeedPlace) { built_at.saturating_sub(differ) } else { u64::MAX };
            let place = view.place_upto(limit)?;
            seek.judge(place, names).await?
        } else {
            // All marks of this process were made after the build.
            let generation = if holds(Rule::SeedBeforeAll) { Generation(0) } else { view.generation() };
            Covered::new(names, Since { generation, place: None })
        };
        (covered.verdict(view) == Verdict::Good).then_some(covered)
    }
}
