//! What a daemon costs while nothing happens.

use std::{thread, time::Duration};

use mothership_tests::Team;

use crate::{
    Failure, Ground,
    figure::{Against::One, Bound::AtMost, Figure},
    host::Process,
    tree,
};

const FILES: usize = 10_000;
/// How long nothing happens.
const SPAN: Duration = Duration::from_secs(5);

pub(crate) fn measure(ground: &Ground) -> Result<Vec<Figure>, Failure> {
    let team = Team::at(tempfile::tempdir_in(ground.scratch.path())?);
    let origin = team.dir.path().join("origin");
    tree::write(&origin, FILES, 500)?;
    tree::commit(&origin);
    let server = team.serve("127.0.0.1:0");
    let alice = team.founder(&server, "live");
    alice.synced();
    // Who uses what is found out in the background; this answers when that is done.
    alice.aura(&["impact"]).ok();
    let pid = alice.aura(&["up"]).ok()["pid"].as_u64().ok_or("no pid")?;
    let daemon = Process(u32::try_from(pid)?);
    let before = daemon.cpu()?;
    thread::sleep(SPAN);
    let share = (daemon.cpu()? - before).as_secs_f64() / SPAN.as_secs_f64();
    let name = format!("idle daemon, {FILES} files watched");
    Ok(vec![
        Figure::new(format!("{name}: % of a core"), share * 100.0).goal(AtMost, 0.0, One),
        Figure::new(
            format!("{name}: resident MB"),
            daemon.resident_kb()? / 1_024.0,
        )
        .goal(AtMost, 40.0, One),
    ])
}
