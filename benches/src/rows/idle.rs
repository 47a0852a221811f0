//! What a daemon costs while nothing happens, and while one of many files is edited.

use std::{thread, time::Duration};

use mothership_tests::{Laptop, Mothership, Team};

use crate::{
    Failure, Ground,
    figure::{Against::One, Bound::AtMost, Figure},
    host::Process,
    tree,
};

const FILES: usize = 10_000;
/// How long nothing happens.
const SPAN: Duration = Duration::from_secs(5);

/// Edits of one figure.
const EDITS: usize = 30;

/// A daemon that has read a tree of so many files.
struct Settled {
    alice: Laptop,
    daemon: Process,
    _server: Mothership,
    _team: Team,
}

impl Settled {
    fn new(ground: &Ground, files: usize) -> Result<Self, Failure> {
        let team = Team::at(tempfile::tempdir_in(ground.scratch.path())?);
        let origin = team.dir.path().join("origin");
        tree::write(&origin, files, 500)?;
        tree::commit(&origin);
        let server = team.serve("127.0.0.1:0");
        let alice = team.founder(&server, "live");
        alice.synced();
        // Who uses what is found out in the background; this answers when that is done.
        alice.aura(&["impact"]).ok();
        Ok(Self {
            daemon: Process(alice.pid()),
            alice,
            _server: server,
            _team: team,
        })
    }

    /// Processor time of an edit of one function, in milliseconds: from the save until everybody could have it.
    fn edit_ms(&self) -> Result<f64, Failure> {
        self.alice
            .aura(&["config", "set", "publish", "intent"])
            .ok();
        let before = self.daemon.cpu()?;
        for n in 0..EDITS {
            let to = format!("a + {}", n + 2);
            self.alice
                .edit(&tree::small(0), &format!("a + {}", n + 1), &to);
            self.alice.aura(&["publish"]).ok();
        }
        Ok((self.daemon.cpu()? - before).as_secs_f64() * 1e3 / EDITS as f64)
    }
}

pub(crate) fn measure(ground: &Ground) -> Result<Vec<Figure>, Failure> {
    let small = Settled::new(ground, 20)?.edit_ms()?;
    let settled = Settled::new(ground, FILES)?;
    let before = settled.daemon.cpu()?;
    thread::sleep(SPAN);
    let share = (settled.daemon.cpu()? - before).as_secs_f64() / SPAN.as_secs_f64();
    let resident_mb = settled.daemon.resident_kb()? / 1_024.0;
    let name = format!("idle daemon, {FILES} files watched");
    Ok(vec![
        Figure::new(format!("{name}: % of a core"), share * 100.0).goal(AtMost, 0.0, One),
        Figure::new(format!("{name}: resident MB"), resident_mb).goal(AtMost, 40.0, One),
        Figure::new(
            format!("one of {FILES} files edited and published (limit: of 20): ms of processor"),
            settled.edit_ms()?,
        )
        .limit(small),
    ])
}
