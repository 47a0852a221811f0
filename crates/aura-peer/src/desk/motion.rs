//! Telling a person's edits from git's own moves.
//!
//! Invariant: while git moves files nothing is published; what git wrote becomes the shadow, what the user wrote
//! is published after git has stopped.

use std::collections::BTreeSet;

use aura_api::Failure;
use aura_proto::RepoPath;
use aura_tree::{
    MotionEvent, ObjectId, Settled, WatchEvent,
    motion::{MotionKind, Whose},
};
use aura_trust::KeyRing;

use super::{Desk, Publishing, pass::Due, publish::Intent};

/// When git is asked again that did not answer, in milliseconds.
const ASK_AGAIN_MS: u64 = 500;

impl Desk {
    /// Takes in what the watcher saw.
    pub(crate) fn watched(&mut self, event: WatchEvent, ring: &KeyRing) -> Result<(), Failure> {
        let now = self.clock.mono_ms();
        match event {
            WatchEvent::Changed(paths) => {
                for path in &paths {
                    self.due.add(path.as_str());
                    self.impacts.touch(path, now);
                }
                self.motion.changed(now, paths);
            }
            WatchEvent::Rescan => {
                self.due = Due::All;
                let paths = self.changed_files()?;
                paths.iter().for_each(|path| self.impacts.touch(path, now));
                self.motion.changed(now, paths);
            }
            WatchEvent::Degraded => {
                let text = "the system's limit of watched directories is reached; files are polled";
                self.notice("degraded", None, text.to_owned());
            }
            WatchEvent::GitMoved => {}
        }
        self.look(ring)
    }

    /// Looks whether git moves, and acts on what is settled.
    pub(crate) fn look(&mut self, ring: &KeyRing) -> Result<(), Failure> {
        let observation = self.repo.observe();
        self.motion.handle(self.clock.mono_ms(), observation);
        while let Some(event) = self.motion.poll() {
            match event {
                MotionEvent::Began => {}
                // What is saved before the motion was acted on belongs to what comes after it.
                MotionEvent::Publish(paths) if let Some(settled) = &mut self.unsettled => {
                    settled.held_too(paths);
                }
                MotionEvent::Publish(paths) => match self.saving_publishes() {
                    true => drop(self.publish_saves(&paths, ring)?),
                    false => self.note_edits(&paths)?,
                },
                MotionEvent::Settled(settled) => {
                    let settled = match self.unsettled.take() {
                        Some(earlier) => settled.after(earlier),
                        None => settled,
                    };
                    self.act_on(settled, ring)?;
                }
            }
        }
        Ok(())
    }

    /// Acts on a motion; what git could not be asked about it is asked again later.
    fn act_on(&mut self, settled: Settled, ring: &KeyRing) -> Result<(), Failure> {
        let done = self.settled(&settled, ring);
        if done.is_err() {
            self.unsettled = Some(settled);
            self.retry_in(ASK_AGAIN_MS);
        }
        done
    }

    /// Acts on a motion that could not be acted on when it ended.
    pub(crate) fn settle_late(&mut self, ring: &KeyRing) -> Result<(), Failure> {
        if self.motion.is_moving() {
            return Ok(());
        }
        let unsettled = self.unsettled.take();
        unsettled.map_or(Ok(()), |settled| self.act_on(settled, ring))
    }

    /// Whether git was at rest at the last look, and what it did before is acted on.
    pub(crate) fn is_still(&self) -> bool {
        !self.motion.is_moving() && self.unsettled.is_none()
    }

    /// Whether git moves files now, by a look of its own, or did and that is not acted on.
    pub(crate) fn git_moves(&mut self) -> bool {
        if !self.motion.is_moving() {
            let observation = self.repo.observe();
            self.motion.handle(self.clock.mono_ms(), observation);
        }
        !self.is_still()
    }

    fn settled(&mut self, settled: &Settled, ring: &KeyRing) -> Result<(), Failure> {
        self.due = Due::All;
        let held: BTreeSet<RepoPath> = settled.held.keys().cloned().collect();
        let at_head = self
            .repo
            .classify_after_motion(&held)
            .map_err(|error| super::git_failure(&error))?;
        let (mut users, mut by_git) = (BTreeSet::new(), BTreeSet::new());
        for (path, at_head) in at_head {
            match settled.whose(&path, at_head) {
                Whose::Git => {
                    self.adopt(&path)?;
                    by_git.insert(path);
                }
                Whose::User => {
                    users.insert(path);
                }
            }
        }
        if settled.kind == MotionKind::Tree {
            self.adopt_head(&mut by_git)?;
        }
        let head = self
            .repo
            .head()
            .map_err(|error| super::git_failure(&error))?;
        self.commit = head.commit.to_string();
        if head.channel() != self.units.channel() {
            self.units.set_channel(head.channel());
            self.agreement.leave();
            // What the user takes along to another branch is not known there.
            self.shadows.rebase(&self.repo)?;
            users.extend(self.shadows.forget_edits());
        }
        // Only now, so that what follows a change of branch is published on the new one.
        if self.saving_publishes() {
            self.publish_saves(&users, ring)?;
        }
        if settled.kind == MotionKind::Commit {
            // A commit writes no file: what was an edit stays one until it is published.
            let committed = self.shadows.rebase_keeping(&self.repo)?;
            self.publish_commit(&committed, &head.commit, ring)?;
            self.forgive_what_git_has()?;
        } else {
            self.shadows.rebase(&self.repo)?;
        }
        self.drop_by_git(&by_git);
        self.agreement.look_again(self.clock.mono_ms());
        if let Some(intent) = self.postponed.take() {
            self.publish_all(&intent, ring)?;
        }
        if settled.head_changed {
            self.notice("motion", None, format!("git moved to {}", &self.commit));
        }
        self.settle(ring);
        Ok(())
    }

    /// Where commits make edits travel: what the commit changed, with its subject as the reason.
    fn publish_commit(
        &mut self,
        committed: &BTreeSet<RepoPath>,
        commit: &ObjectId,
        ring: &KeyRing,
    ) -> Result<(), Failure> {
        let is_held = self.damage.is_some() || self.pause.publishing.is_some();
        if self.publishing == Publishing::Commit && !is_held {
            let intent = Intent {
                why: self.repo.subject(commit).ok(),
                ..Intent::default()
            };
            self.publish(committed, &intent, ring)?;
        }
        Ok(())
    }

    /// Takes what the file holds now as the shadow: git wrote it.
    fn adopt(&mut self, path: &RepoPath) -> Result<(), Failure> {
        self.adopted.insert(path.clone());
        match self.copy.root().read_file(path) {
            Ok(file) => {
                let before = self.shadow(path)?;
                let now =
                    aura_semantic::index(path.as_str(), file.bytes, before.as_ref(), &self.budget);
                self.shadows.set(path, Some(&now), true)
            }
            Err(aura_tree::ReadError::Missing) => self.shadows.set(path, None, true),
            Err(_) => Ok(()),
        }
    }

    /// After a checkout or reset: every file that equals HEAD was put there by git.
    fn adopt_head(&mut self, by_git: &mut BTreeSet<RepoPath>) -> Result<(), Failure> {
        self.shadows.rebase(&self.repo)?;
        for path in self.changed_files()? {
            let disk = self
                .copy
                .root()
                .read_file(&path)
                .ok()
                .map(|file| file.bytes);
            if disk.is_some() && disk == self.shadows.head_text(&path)? {
                self.shadows.forget(&path);
                self.adopted.insert(path.clone());
                by_git.insert(path);
            }
        }
        Ok(())
    }
}
