//! Workloads, the same for every server.
//!
//! Invariants:
//! - a load is bounded in count, and in time by [`PATIENCE`];
//! - what warms up is not measured.

use std::{
    collections::VecDeque,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    Failure,
    host::{Process, now},
    line::{Line, Speech, System},
};

/// How long one load may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Publications before the clock starts.
const WARM: usize = 20;
/// Publications of one [`Crowd`] in all its runs.
const PUBLICATIONS_MAX: usize = 8_192;

pub(crate) async fn bounded<T>(
    what: &str,
    load: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(PATIENCE, load).await {
        Ok(done) => done.map_err(|error| format!("{what}: {error}").into()),
        Err(_) => Err(format!("{what}: not done in {} s", PATIENCE.as_secs()).into()),
    }
}

/// Durable publications without subscribers.
pub(crate) struct Pushed {
    pub(crate) per_second: f64,
    pub(crate) acks: Vec<Duration>,
    /// Processor time of the server for one publication, in microseconds.
    pub(crate) cpu_us: f64,
}

/// So many writers, each with so many publications unanswered at a time.
pub(crate) async fn push<S: System>(
    system: &S,
    writers: usize,
    in_flight: usize,
    each: usize,
    bytes: usize,
) -> Result<Pushed, Failure> {
    let topic = system.topic().await?;
    let mut lines = Vec::new();
    for n in 0..writers {
        let mut line = system.connect(n, topic).await?;
        line.speech.prepare(WARM + each, bytes)?;
        write_some(&mut line, WARM, in_flight).await?;
        lines.push(line);
    }
    let (cpu, begun) = (system.process().cpu()?, now());
    let mut running = JoinSet::new();
    for mut line in lines {
        running.spawn(async move { write_some(&mut line, each, in_flight).await });
    }
    let mut acks = Vec::new();
    while let Some(done) = running.join_next().await {
        acks.extend(done??);
    }
    let (all, elapsed) = ((each * writers) as f64, begun.elapsed());
    Ok(Pushed {
        per_second: all / elapsed.as_secs_f64(),
        acks,
        cpu_us: (system.process().cpu()? - cpu).as_secs_f64() * 1e6 / all,
    })
}

/// Publishes what is prepared; how long each waited for its answer.
pub(crate) async fn write_some<S: Speech>(
    line: &mut Line<S>,
    count: usize,
    in_flight: usize,
) -> Result<Vec<Duration>, Failure> {
    let before = line.speech.heard().acks;
    let mut sent = VecDeque::new();
    let mut acks = Vec::with_capacity(count);
    let mut published = 0;
    while acks.len() < count {
        while published < count && sent.len() < in_flight {
            line.speech.publish()?;
            sent.push_back(now());
            published += 1;
        }
        line.write().await?;
        let acked = line.read().await?.acks - before;
        while acks.len() < acked {
            let sent = sent.pop_front().ok_or("an answer to nothing")?;
            acks.push(sent.elapsed());
        }
    }
    Ok(acks)
}

/// When each publication left, and when the last subscriber had it.
struct Board {
    begun: Instant,
    sent_ns: Vec<AtomicU64>,
    done_ns: Vec<AtomicU64>,
    missing: Vec<AtomicUsize>,
    /// One permit for each publication that everybody has; closed when a subscriber fails.
    done: Semaphore,
}

impl Board {
    fn new(subscribers: usize) -> Self {
        let places = 0..PUBLICATIONS_MAX;
        Self {
            begun: now(),
            sent_ns: places.clone().map(|_| AtomicU64::new(0)).collect(),
            done_ns: places.clone().map(|_| AtomicU64::new(0)).collect(),
            missing: places.map(|_| AtomicUsize::new(subscribers)).collect(),
            done: Semaphore::new(0),
        }
    }

    fn ns(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn arrived(&self, number: usize) {
        if self.missing[number].fetch_sub(1, Relaxed) == 1 {
            self.done_ns[number].store(self.ns(), Relaxed);
            self.done.add_permits(1);
        }
    }
}

/// What is published to a crowd, and how fast.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) count: usize,
    pub(crate) bytes: usize,
    /// Publications that somebody lacks, at most.
    pub(crate) in_flight: usize,
    /// A pace, or as fast as the above allows.
    pub(crate) per_second: Option<f64>,
}

/// What came of it.
pub(crate) struct Fan {
    pub(crate) deliveries_per_second: f64,
    /// From each publication to its last subscriber.
    pub(crate) last: Vec<Duration>,
    /// From each publication to its answer.
    pub(crate) acks: Vec<Duration>,
    /// Processor time of the server for one delivery, in microseconds.
    pub(crate) cpu_us: f64,
}

/// Subscribers and one who publishes to them.
pub(crate) struct Crowd<S: System> {
    publisher: Line<S::Speech>,
    subscribers: usize,
    board: Arc<Board>,
    running: JoinSet<Result<(), Failure>>,
    published: usize,
    process: Process,
    /// Resident memory that one subscriber costs while nothing is sent, in KB.
    pub(crate) idle_kb: f64,
}

impl<S: System> Crowd<S> {
    pub(crate) async fn gather(system: &S, subscribers: usize) -> Result<Self, Failure> {
        let topic = system.topic().await?;
        let process = system.process();
        let publisher = system.connect(0, topic).await?;
        let before = process.resident_kb()?;
        let board = Arc::new(Board::new(subscribers));
        let mut running = JoinSet::new();
        for n in 1..=subscribers {
            let mut line = system.connect(n, topic).await?;
            line.subscribe().await?;
            let board = Arc::clone(&board);
            running.spawn(async move {
                let listened = listen(&mut line, &board).await;
                board.done.close();
                listened
            });
        }
        let idle_kb = (process.resident_kb()? - before) / subscribers as f64;
        let mut crowd = Self {
            publisher,
            subscribers,
            board,
            running,
            published: 0,
            process,
            idle_kb,
        };
        let warm = Plan {
            count: WARM,
            bytes: 10 << 10,
            in_flight: 1,
            per_second: None,
        };
        crowd.run(warm).await?;
        Ok(crowd)
    }

    pub(crate) async fn run(&mut self, plan: Plan) -> Result<Fan, Failure> {
        match self.publish(plan).await {
            Ok(fan) => Ok(fan),
            Err(error) => Err(self.why().await.unwrap_or(error)),
        }
    }

    /// What a subscriber failed of, if one did.
    async fn why(&mut self) -> Option<Failure> {
        if !self.board.done.is_closed() {
            return None;
        }
        self.running.join_next().await?.ok()?.err()
    }

    async fn publish(&mut self, plan: Plan) -> Result<Fan, Failure> {
        let (first, before) = (self.published, self.publisher.speech.heard().acks);
        let board = Arc::clone(&self.board);
        self.publisher.speech.prepare(plan.count, plan.bytes)?;
        board.done.add_permits(plan.in_flight);
        let (cpu, begun) = (self.process.cpu()?, now());
        let mut acks = Vec::with_capacity(plan.count);
        let mut published = 0;
        while acks.len() < plan.count {
            let wait = plan.per_second.map_or(Duration::ZERO, |pace| {
                Duration::from_secs_f64(published as f64 / pace).saturating_sub(begun.elapsed())
            });
            let turn = async {
                tokio::time::sleep(wait).await;
                board.done.acquire().await
            };
            tokio::select! {
                permit = turn, if published < plan.count => {
                    permit?.forget();
                    self.publisher.speech.publish()?;
                    board.sent_ns[first + published].store(board.ns(), Relaxed);
                    published += 1;
                    self.publisher.write().await?;
                }
                heard = self.publisher.read() => {
                    let answered = heard?.acks - before;
                    while acks.len() < answered {
                        let sent = board.sent_ns[first + acks.len()].load(Relaxed);
                        acks.push(Duration::from_nanos(board.ns().saturating_sub(sent)));
                    }
                    self.publisher.write().await?;
                }
            }
        }
        let all = u32::try_from(plan.in_flight)?;
        board.done.acquire_many(all).await?.forget();
        let elapsed = begun.elapsed();
        self.published += plan.count;
        let last = (first..self.published).map(|number| {
            let sent = board.sent_ns[number].load(Relaxed);
            Duration::from_nanos(board.done_ns[number].load(Relaxed).saturating_sub(sent))
        });
        let deliveries = (plan.count * self.subscribers) as f64;
        Ok(Fan {
            deliveries_per_second: deliveries / elapsed.as_secs_f64(),
            last: last.collect(),
            acks,
            cpu_us: (self.process.cpu()? - cpu).as_secs_f64() * 1e6 / deliveries,
        })
    }
}

async fn listen<S: Speech>(line: &mut Line<S>, board: &Board) -> Result<(), Failure> {
    let mut seen = line.speech.heard().events;
    loop {
        let events = line.read().await?.events;
        (seen..events).for_each(|number| board.arrived(number));
        seen = events;
        line.write().await?;
    }
}

/// Reads a topic from its start to its end with so many readers at once; messages a second of all together.
pub(crate) async fn catch_up<S: System>(
    system: &S,
    topic: u8,
    readers: usize,
    stored: usize,
) -> Result<f64, Failure> {
    let mut lines = Vec::new();
    for n in 1..=readers {
        lines.push(system.connect(n, topic).await?);
    }
    let begun = now();
    let mut running = JoinSet::new();
    for mut line in lines {
        running.spawn(async move {
            line.speech.subscribe();
            line.until(|heard| stored <= heard.events).await
        });
    }
    while let Some(done) = running.join_next().await {
        done??;
    }
    Ok((readers * stored) as f64 / begun.elapsed().as_secs_f64())
}
