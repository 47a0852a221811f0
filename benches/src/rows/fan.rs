//! Fan-out, durable first: deliveries, the last subscriber, the server's time and memory.

use crate::{
    Failure, Ground,
    figure::{
        Against::{One, Peer},
        Bound::{AtLeast, AtMost},
        Figure,
    },
    host::{percentile, tls_fan_out},
    line::System,
    load::{Crowd, Fan, Plan, bounded},
    nats::{Delivery, Syncs},
    rows::BODY,
    server::Server,
};

/// Deliveries of one unpaced load.
const DELIVERIES: usize = 50_000;

pub(crate) async fn measure(ground: &Ground) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    for subscribers in [100, 500] {
        let limit = tls_fan_out(&ground.pki, subscribers, BODY).await?;
        let server = Server::start(ground.scratch.path(), 1 + subscribers).await?;
        let ours = bounded("fan-out", Measured::of(&server, subscribers)).await?;
        drop(server);
        let mut peer = None;
        if let Some(nats) = ground.nats(Syncs::Always, Delivery::Live).await? {
            peer = Some(bounded("fan-out", Measured::of(&nats, subscribers)).await?);
        }
        figures.extend(compare(subscribers, limit, &ours, peer.as_ref()));
    }
    Ok(figures)
}

/// All loads of one server with one crowd.
struct Measured {
    loads: Vec<(&'static str, Load)>,
    idle_kb: f64,
    peak_mb: f64,
}

struct Load {
    rate: f64,
    cpu_us: f64,
    last_ms: [f64; 2],
    ack_ms: [f64; 2],
}

impl Load {
    fn of(mut fan: Fan) -> Self {
        Self {
            rate: fan.deliveries_per_second,
            cpu_us: fan.cpu_us,
            last_ms: [50, 99].map(|p| percentile(&mut fan.last, p)),
            ack_ms: [50, 99].map(|p| percentile(&mut fan.acks, p)),
        }
    }
}

impl Measured {
    async fn of<S: System>(system: &S, subscribers: usize) -> Result<Self, Failure> {
        let mut crowd = Crowd::gather(system, subscribers).await?;
        let mut loads = Vec::new();
        for (name, plan) in plans(subscribers) {
            loads.push((name, Load::of(crowd.run(plan).await?)));
        }
        Ok(Self {
            loads,
            idle_kb: crowd.idle_kb,
            peak_mb: system.process().peak_kb()? / 1_024.0,
        })
    }
}

fn plans(subscribers: usize) -> [(&'static str, Plan); 4] {
    let plan = Plan {
        count: DELIVERIES / subscribers,
        bytes: BODY,
        in_flight: 1,
        per_second: None,
    };
    let eight = Plan {
        in_flight: 8,
        count: 2 * plan.count,
        ..plan
    };
    let paced = Plan {
        count: 120,
        in_flight: 120,
        per_second: Some(20.0),
        ..plan
    };
    let small = Plan {
        count: 4 * plan.count,
        bytes: 200,
        in_flight: 8,
        ..plan
    };
    // The paced one first: the others use up what the system gives to the real-time class.
    [
        ("20/s", paced),
        ("1 in flight", plan),
        ("8 in flight", eight),
        ("200 B, 8 in flight", small),
    ]
}

fn compare(
    subscribers: usize,
    limit: f64,
    ours: &Measured,
    peer: Option<&Measured>,
) -> Vec<Figure> {
    let mut figures = Vec::new();
    let is_full = subscribers == 500;
    for (n, (load, measured)) in ours.loads.iter().enumerate() {
        let figure = |what: &str, value: fn(&Load) -> f64| {
            Figure::new(
                format!("fan-out to {subscribers}, {load}: {what}"),
                value(measured),
            )
            .peer(peer.map(|peer| value(&peer.loads[n].1)))
        };
        let rate = figure("deliveries/s", |load| load.rate);
        let last_50 = figure("last p50 ms", |load| load.last_ms[0]);
        let last_99 = figure("last p99 ms", |load| load.last_ms[1]);
        let ack_50 = figure("ack p50 ms", |load| load.ack_ms[0]);
        let ack_99 = figure("ack p99 ms", |load| load.ack_ms[1]);
        let cpu = figure("server us each", |load| load.cpu_us);
        let all_ms = subscribers as f64 * 1e3 / limit;
        figures.extend(match *load {
            "1 in flight" if is_full => vec![
                rate.limit(limit).goal(AtLeast, 2.2, Peer),
                last_50.limit(all_ms).goal(AtMost, 0.5, Peer),
                last_99.limit(all_ms).goal(AtMost, 0.35, Peer),
                cpu,
            ],
            "1 in flight" => vec![
                rate.limit(limit),
                last_50.limit(all_ms),
                last_99.limit(all_ms),
                cpu,
            ],
            "8 in flight" if is_full => vec![rate.limit(limit).goal(AtLeast, 2.5, Peer), cpu],
            "8 in flight" => vec![rate.limit(limit), cpu],
            "20/s" if is_full => vec![
                last_50,
                last_99.goal(AtMost, 0.4, Peer),
                ack_50.goal(AtMost, 0.7, Peer),
                ack_99.goal(AtMost, 0.5, Peer),
                cpu.goal(AtMost, 0.3, Peer),
            ],
            "20/s" => vec![last_50, last_99, cpu],
            _ if is_full => vec![rate.goal(AtLeast, 1.7, Peer), cpu],
            _ => vec![rate, cpu],
        });
    }
    let figure = |what: &str, value: fn(&Measured) -> f64| {
        Figure::new(format!("fan-out to {subscribers}: {what}"), value(ours)).peer(peer.map(value))
    };
    let idle = figure("idle subscriber KB", |measured| measured.idle_kb);
    let peak = figure("server peak MB", |measured| measured.peak_mb);
    figures.push(idle.goal(AtMost, 40.0, One));
    figures.push(peak.goal(AtMost, 100.0, One));
    figures
}
