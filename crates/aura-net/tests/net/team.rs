//! A team for tests: an authority, certificates good and bad, a calendar that stands still.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use aura_net::{Credentials, Dialer, Expect, ListenConfig, Listener, Revoked, tls::Calendar};
use aura_proto::{PeerId, TeamId, limits::LEAF_TTL_S, message::Role};
use aura_trust::{Ca, IdentityKey, Subject, TlsKey};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;

/// The time of every test, in seconds since 1970.
pub(crate) const NOW_S: u64 = 1_800_000_000;

#[derive(Debug)]
struct StandingStill;

impl TimeProvider for StandingStill {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(NOW_S)))
    }
}

pub(crate) fn calendar() -> Calendar {
    Arc::new(StandingStill)
}

pub(crate) fn nobody_revoked() -> Revoked {
    Arc::new(|_| false)
}

pub(crate) fn only_revoked(peer: PeerId) -> Revoked {
    Arc::new(move |asked| asked == peer)
}

/// Different 32 bytes at each call.
fn seed() -> [u8; 32] {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    [NEXT.fetch_add(1, Ordering::Relaxed); 32]
}

pub(crate) struct Team {
    pub(crate) ca: Ca,
}

/// A peer with its certificate.
pub(crate) struct Member {
    pub(crate) peer: PeerId,
    pub(crate) credentials: Credentials,
}

impl Team {
    pub(crate) fn new() -> Self {
        Self {
            ca: Ca::create(seed(), [7; 16], NOW_S, "night shift").unwrap(),
        }
    }

    pub(crate) fn id(&self) -> TeamId {
        self.ca.team()
    }

    pub(crate) fn member(&self, role: Role) -> Member {
        self.issued_at(role, self.id(), NOW_S)
    }

    /// A certificate of seven days for a name that may be of another team.
    pub(crate) fn issued_at(&self, role: Role, team: TeamId, now_s: u64) -> Member {
        let peer = IdentityKey::from_seed(seed()).peer();
        let key = TlsKey::from_seed(seed());
        let subject = Subject {
            team,
            role,
            peer,
            name: "ana".to_owned(),
        };
        let certificate = self.ca.issue(
            &key.csr(),
            &subject,
            seed()[..16].try_into().unwrap(),
            now_s,
            LEAF_TTL_S,
        );
        let credentials = Credentials {
            certificate: certificate.unwrap(),
            ca: self.ca.certificate().to_vec(),
            key: Arc::new(key.pkcs8()),
        };
        Member { peer, credentials }
    }

    /// A certificate that policy would never issue, signed by the authority all the same.
    pub(crate) fn odd(&self, role: Role, uris: &[String], is_ca: bool) -> Member {
        let peer = IdentityKey::from_seed(seed()).peer();
        let key = TlsKey::from_seed(seed());
        let pair = KeyPair::try_from(&key.pkcs8()[..]).unwrap();
        let mut params = CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        let own = format!("aura://{}/{}/{peer}", self.id(), role.as_str());
        let names = uris.iter().map(|uri| uri.replace("OWN", &own));
        params.subject_alt_names = names
            .map(|uri| SanType::URI(uri.as_str().try_into().unwrap()))
            .collect();
        params.is_ca = if is_ca {
            IsCa::Ca(BasicConstraints::Unconstrained)
        } else {
            IsCa::ExplicitNoCa
        };
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        let ca_key = KeyPair::from_pem(&self.ca.key_pem()).unwrap();
        let issuer = Issuer::from_ca_cert_der(self.ca.certificate(), ca_key).unwrap();
        let certificate = params.signed_by(&pair, &issuer).unwrap();
        let credentials = Credentials {
            certificate: certificate.der().to_vec(),
            ca: self.ca.certificate().to_vec(),
            key: Arc::new(key.pkcs8()),
        };
        Member { peer, credentials }
    }

    /// Every certificate that nobody of this team may accept, with what is wrong.
    pub(crate) fn bad(&self, role: Role) -> Vec<(&'static str, Member)> {
        let mut stranger = Self::new().issued_at(role, self.id(), NOW_S);
        // The stranger shows our authority's certificate beside a leaf that it never signed.
        stranger.credentials.ca = self.ca.certificate().to_vec();
        let day = 24 * 3_600;
        vec![
            ("other authority", stranger),
            ("expired", self.issued_at(role, self.id(), NOW_S - 8 * day)),
            (
                "not yet valid",
                self.issued_at(role, self.id(), NOW_S + 900),
            ),
            ("of an authority", self.odd(role, &["OWN".to_owned()], true)),
            ("without a name", self.odd(role, &[], false)),
            (
                "with two names",
                self.odd(
                    role,
                    &["OWN".to_owned(), "https://a.example".to_owned()],
                    false,
                ),
            ),
            ("wrong team", self.issued_at(role, TeamId([9; 16]), NOW_S)),
        ]
    }

    pub(crate) fn listener(&self, credentials: &Credentials, revoked: Revoked) -> Listener {
        let config = ListenConfig {
            calendar: calendar(),
            ..ListenConfig::default()
        };
        self.listener_with(credentials, revoked, config)
    }

    pub(crate) fn listener_with(
        &self,
        credentials: &Credentials,
        revoked: Revoked,
        config: ListenConfig,
    ) -> Listener {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        Listener::bind_with(any, credentials, self.id(), revoked, config).unwrap()
    }
}

impl Member {
    pub(crate) fn dialer(&self, expect: Expect) -> Dialer {
        Dialer::member(&self.credentials, expect, nobody_revoked(), &calendar()).unwrap()
    }
}

pub(crate) fn mothership() -> Expect {
    Expect {
        role: Role::Mothership,
        peer: None,
    }
}

pub(crate) fn addrs(listener: &Listener) -> Vec<String> {
    vec![listener.local().to_string()]
}

/// Resolves when nobody is being shaken hands with any more.
pub(crate) async fn nobody_left(listener: &Listener) {
    let empty = async {
        while listener.strangers() != 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), empty)
        .await
        .expect("a place was never given back");
}
