//! A direct link between two laptops on loopback, from the wish for it until both ends have it: the race of dials, TLS,
//! and both proofs. Beside it a bare TCP connection, and bare TLS with a certificate on both sides.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use aura_engine::{
    Now,
    peer::links::{Arrived, Input, Known, LinkId, Links, Output, Own, Settings},
};
use aura_net::{
    Clock, Credentials, Dialer, Expect, LinkEvent, LinkHandle, Listener, Revoked, link,
    tls::calendar,
};
use aura_proto::{
    PeerId, TeamId,
    limits::LEAF_TTL_S,
    message::{Message, Role},
    reach::{Reach, Visibility},
    session::Side,
};
use aura_trust::{Ca, IdentityKey, Subject, TlsKey};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::{
    Failure, Ground,
    figure::{Against::Peer, Bound::AtMost, Figure},
    host::{now, percentile},
    load::bounded,
    pki::Pki,
};

/// Links made for one figure, one after the other.
const LINKS: usize = 200;

pub(crate) async fn measure(ground: &Ground) -> Result<Vec<Figure>, Failure> {
    let mut bare = bounded("bare sockets", bare(&ground.pki)).await?;
    let mut ours = bounded("direct links", direct()).await?;
    let name = "a direct link on loopback";
    let row = |p: usize, ours: &mut [Duration], bare: &mut Bare| {
        Figure::new(
            format!("{name} p{p} ms; the peer is bare TLS"),
            percentile(ours, p),
        )
        .limit(percentile(&mut bare.tcp, p))
        .peer(Some(percentile(&mut bare.tls, p)))
    };
    Ok(vec![
        row(50, &mut ours, &mut bare).goal(AtMost, 2.0, Peer),
        row(99, &mut ours, &mut bare),
    ])
}

struct Bare {
    tcp: Vec<Duration>,
    tls: Vec<Duration>,
}

/// Times until both ends have a TCP connection, and one with TLS on it.
async fn bare(pki: &Pki) -> Result<Bare, Failure> {
    let acceptor = TlsAcceptor::from(Arc::new(pki.server()?));
    let connector = TlsConnector::from(Arc::new(pki.client()?));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    let mut bare = Bare {
        tcp: Vec::new(),
        tls: Vec::new(),
    };
    for _ in 0..LINKS {
        let begun = now();
        let (dialled, accepted) = tokio::try_join!(TcpStream::connect(addr), listener.accept())?;
        bare.tcp.push(begun.elapsed());
        dialled.set_nodelay(true)?;
        accepted.0.set_nodelay(true)?;
        let name = "localhost".try_into()?;
        let both = tokio::try_join!(
            connector.connect(name, dialled),
            acceptor.accept(accepted.0)
        )?;
        bare.tls.push(begun.elapsed());
        drop(both);
    }
    Ok(bare)
}

/// One end: the machine, and the link that it has.
struct End {
    links: Links,
    link: Option<(LinkHandle, mpsc::Receiver<LinkEvent>)>,
    clock: Clock,
    is_up: bool,
}

/// A laptop that is known to another.
struct Laptop {
    seed: [u8; 32],
    peer: PeerId,
    credentials: Credentials,
}

impl Laptop {
    fn new(ca: &Ca, n: u8) -> Result<Self, Failure> {
        let peer = IdentityKey::from_seed([n; 32]).peer();
        let key = TlsKey::from_seed([n + 100; 32]);
        let subject = Subject {
            team: ca.team(),
            role: Role::Member,
            peer,
            name: format!("laptop {n}"),
        };
        let now_s = Clock::start().wall_ms() / 1_000;
        let certificate = ca.issue(&key.csr(), &subject, [n; 16], now_s, LEAF_TTL_S)?;
        let credentials = Credentials {
            certificate,
            ca: ca.certificate().to_vec(),
            key: Arc::new(key.pkcs8()),
        };
        Ok(Self {
            seed: [n; 32],
            peer,
            credentials,
        })
    }

    /// The laptop as it has just started; it knows one other.
    fn end(&self, team: TeamId, other: PeerId, addresses: Vec<SocketAddr>) -> End {
        let own = Own {
            key: IdentityKey::from_seed(self.seed),
            team,
            team_name: "bench".to_owned(),
            agent: "bench".to_owned(),
        };
        let clock = Clock::start();
        let mut links = Links::new(now_of(clock), own, Settings::default(), 1);
        let reach = Reach {
            counter: 1,
            visibility: Visibility::Open,
            addresses: addresses.clone(),
        };
        let known = Known {
            peer: other,
            person: "the other".to_owned(),
            reach,
            addresses,
            is_online: None,
            is_relay: false,
        };
        links.handle(now_of(clock), Input::Peers(vec![known]));
        End {
            links,
            link: None,
            clock,
            is_up: false,
        }
    }
}

fn now_of(clock: Clock) -> Now {
    Now {
        mono_ms: clock.mono_ms(),
        wall_ms: clock.wall_ms(),
    }
}

impl End {
    fn tell(&mut self, input: Input) {
        self.links.handle(now_of(self.clock), input);
    }

    /// Carries out what the machine wants; whether it wants the other end dialled, and where.
    fn pump(&mut self) -> Option<Vec<String>> {
        let mut dial = None;
        while let Some(output) = self.links.poll() {
            match output {
                Output::Dial { addresses, .. } => {
                    dial = Some(addresses.iter().map(ToString::to_string).collect());
                }
                Output::Send { message, .. } => {
                    if let Some((handle, _)) = &self.link {
                        let (kind, payload) = message.encode();
                        handle.send(0, kind, payload);
                    }
                }
                Output::Up { .. } => self.is_up = true,
                _ => {}
            }
        }
        dial
    }

    /// Hears the next message, once there is a link.
    async fn hear(&mut self) -> Result<(), Failure> {
        let Some((_, events)) = &mut self.link else {
            return std::future::pending().await;
        };
        match events.recv().await {
            Some(LinkEvent::Message { kind, payload, .. }) => {
                let message = Message::decode(kind, payload)?;
                let link = LinkId(1);
                self.tell(Input::Received { link, message });
                Ok(())
            }
            Some(LinkEvent::Drained | LinkEvent::StreamReset { .. }) => Ok(()),
            Some(LinkEvent::Closed { detail, .. }) => Err(detail.into()),
            None => Err("the link is gone".into()),
        }
    }
}

/// Times from the wish for a link until both ends have it.
async fn direct() -> Result<Vec<Duration>, Failure> {
    let now_s = Clock::start().wall_ms() / 1_000;
    let ca = Ca::create([1; 32], [2; 16], now_s, "bench")?;
    let laptops = [Laptop::new(&ca, 1)?, Laptop::new(&ca, 2)?];
    let nobody: Revoked = Arc::new(|_| false);
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let credentials = &laptops[1].credentials;
    let mut listener = Listener::bind(any, credentials, ca.team(), Arc::clone(&nobody))?;
    let mut times = Vec::new();
    for _ in 0..LINKS {
        let here = laptops[0].end(ca.team(), laptops[1].peer, vec![listener.local()]);
        let there = laptops[1].end(ca.team(), laptops[0].peer, Vec::new());
        let begun = now();
        let (here, there) = tokio::try_join!(
            dialling(here, &laptops, &nobody),
            answering(there, &mut listener)
        )?;
        times.push(begun.elapsed());
        drop((here, there));
    }
    Ok(times)
}

async fn dialling(mut end: End, laptops: &[Laptop; 2], nobody: &Revoked) -> Result<End, Failure> {
    end.tell(Input::Want(laptops[1].peer));
    let addresses = end.pump().ok_or("it was not to be dialled")?;
    let expect = Expect {
        role: Role::Member,
        peer: Some(laptops[1].peer),
    };
    let (credentials, nobody) = (&laptops[0].credentials, Arc::clone(nobody));
    let dialer = Dialer::member(credentials, expect, nobody, &calendar())?;
    let dialed = dialer.race(&addresses).await?;
    let address = dialed.stream.get_ref().0.peer_addr().ok();
    let (handle, _, events) = link::spawn(dialed.stream, Side::Client, false, &[], end.clock);
    end.link = Some((handle, events));
    let arrived = Arrived {
        link: LinkId(1),
        exporter: dialed.exporter,
        address,
        until_ms: u64::MAX,
    };
    end.tell(Input::Dialed {
        peer: laptops[1].peer,
        result: Ok(arrived),
        attempts: Vec::new(),
    });
    until_up(end).await
}

async fn answering(mut end: End, listener: &mut Listener) -> Result<End, Failure> {
    let incoming = listener.next().await.ok_or("the listener is gone")?;
    let identity = incoming.identity.ok_or("nobody in particular")?;
    let (handle, _, events) = link::spawn(incoming.stream, Side::Server, false, &[], end.clock);
    end.link = Some((handle, events));
    end.tell(Input::Accepted {
        link: LinkId(1),
        peer: identity.peer,
        exporter: incoming.exporter,
        remote: Some(incoming.remote),
        until_ms: u64::MAX,
    });
    until_up(end).await
}

async fn until_up(mut end: End) -> Result<End, Failure> {
    end.pump();
    while !end.is_up {
        end.hear().await?;
        end.pump();
    }
    Ok(end)
}
