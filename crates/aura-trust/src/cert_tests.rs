//! What the authority issues, what is read from certificates, and how the TLS library judges them.
//!
//! Invariants:
//! - each refused certificate differs in one thing from one that is accepted.

#![allow(clippy::unwrap_used)]
use std::sync::Arc;

use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    server::WebPkiClientVerifier,
};
use rustls_pki_types::{ServerName, UnixTime};

use super::*;

const NOW_S: u64 = 1_800_000_000;
const WEEK_S: u64 = 7 * 86_400;

fn ca() -> Ca {
    Ca::create([1; 32], [2; 16], NOW_S, "acme").unwrap()
}

fn peer() -> PeerId {
    crate::IdentityKey::from_seed([3; 32]).peer()
}

fn subject(role: Role) -> Subject {
    Subject {
        team: ca().team(),
        role,
        peer: peer(),
        name: "bob".to_owned(),
    }
}

fn tls_key() -> TlsKey {
    TlsKey::from_seed([4; 32])
}

fn issued(role: Role) -> Vec<u8> {
    ca().issue(&tls_key().csr(), &subject(role), [5; 16], NOW_S, WEEK_S)
        .unwrap()
}

/// A certificate by our authority whose parameters a test may spoil.
fn spoiled(spoil: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = valid_until(NOW_S, NOW_S + WEEK_S).unwrap();
    let uri = identity_uri(ca().team(), Role::Member, peer());
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = usages(Role::Member);
    spoil(&mut params);
    params
        .signed_by(&tls_key().0, &ca().issuer)
        .unwrap()
        .der()
        .to_vec()
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn roots() -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(ca().certificate().clone()).unwrap();
    Arc::new(roots)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn accepted_as_client(der: Vec<u8>, now_s: u64) -> bool {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(), provider())
        .build()
        .unwrap();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now_s));
    verifier.verify_client_cert(&der.into(), &[], now).is_ok()
}

/// Names are compared by ourselves, so a name that does not match is the one thing that may be wrong.
fn accepted_as_server(der: Vec<u8>) -> bool {
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(), provider())
        .build()
        .unwrap();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW_S));
    let name = ServerName::try_from("mothership").unwrap();
    matches!(
        verifier.verify_server_cert(&der.into(), &[], &name, &[], now),
        Ok(_)
            | Err(rustls::Error::InvalidCertificate(
                rustls::CertificateError::NotValidForName
                    | rustls::CertificateError::NotValidForNameContext { .. }
            ))
    )
}

#[test]
fn an_issued_certificate_says_what_policy_said() {
    for role in [
        Role::Admin,
        Role::Member,
        Role::Agent,
        Role::Observer,
        Role::Relay,
    ] {
        let identity = CertIdentity::from_der(&issued(role)).unwrap();
        assert_eq!(
            (identity.team, identity.role, identity.peer),
            (ca().team(), role, peer())
        );
        assert_eq!(identity.not_before_s, NOW_S - LEAF_BACKDATE_S);
        assert_eq!(identity.not_after_s, NOW_S + WEEK_S);
        assert_eq!(identity.public_key, tls_key().public());
        assert!(identity.may_dial && identity.may_answer);
        assert!(identity.holds_at(NOW_S) && !identity.holds_at(NOW_S + WEEK_S + 1));
        assert!(accepted_as_client(issued(role), NOW_S));
        assert!(accepted_as_server(issued(role)));
    }
}

#[test]
fn a_mothership_answers_and_does_not_dial() {
    let identity = CertIdentity::from_der(&issued(Role::Mothership)).unwrap();
    assert!(identity.may_answer && !identity.may_dial);
    assert!(accepted_as_server(issued(Role::Mothership)));
    assert!(!accepted_as_client(issued(Role::Mothership), NOW_S));
}

#[test]
fn an_authority_reads_back_and_issues_under_the_same_root() {
    let again = Ca::from_pem(ca().certificate_pem(), &ca().key_pem()).unwrap();
    assert_eq!(again.public_key_hash(), ca().public_key_hash());
    assert_eq!(again.team(), ca().team());
    assert_eq!(again.ends_s(), NOW_S + CA_TTL_S);
    let leaf = again
        .issue(
            &tls_key().csr(),
            &subject(Role::Member),
            [5; 16],
            NOW_S,
            WEEK_S,
        )
        .unwrap();
    assert_eq!(leaf, issued(Role::Member));
    assert_eq!(
        public_key_hash(ca().certificate()).unwrap(),
        (ca().public_key_hash(), ca().team())
    );
}

#[test]
fn an_authority_with_an_odd_name_still_chains() {
    for name in ["", "Ärzte & Söhne ✓", "x\0y", &"n".repeat(300)] {
        let ca = Ca::create([1; 32], [2; 16], NOW_S, name).unwrap();
        let ca = Ca::from_pem(ca.certificate_pem(), &ca.key_pem()).unwrap();
        let leaf = ca
            .issue(
                &tls_key().csr(),
                &subject(Role::Member),
                [5; 16],
                NOW_S,
                WEEK_S,
            )
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(ca.certificate().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW_S));
        assert!(
            verifier.verify_client_cert(&leaf.into(), &[], now).is_ok(),
            "{name:?}"
        );
    }
}

#[test]
fn a_key_of_another_authority_is_refused() {
    let other = Ca::create([9; 32], [2; 16], NOW_S, "acme").unwrap();
    let mixed = Ca::from_pem(ca().certificate_pem(), &other.key_pem());
    assert!(matches!(mixed, Err(CaError::Mismatch)));
    assert!(matches!(
        Ca::from_pem("", &ca().key_pem()),
        Err(CaError::Certificate)
    ));
    assert!(matches!(
        Ca::from_pem(ca().certificate_pem(), ""),
        Err(CaError::Key)
    ));
}

#[test]
fn a_key_that_was_written_down_makes_the_same_team() {
    let again = Ca::certify(&ca().key_pem(), [3; 16], NOW_S, "acme").unwrap();
    assert_eq!(again.team(), ca().team());
    Ca::from_pem(again.certificate_pem(), &ca().key_pem()).unwrap();
    assert!(matches!(
        Ca::certify("", [3; 16], NOW_S, "acme"),
        Err(CaError::Key)
    ));
}

#[test]
fn no_secret_of_an_authority_shows_in_debug_output() {
    let shown = format!("{:?} {:?}", ca(), tls_key());
    assert_eq!(shown.matches("[redacted]").count(), 2);
    assert!(shown.len() < 60, "{shown}");
}

#[test]
fn a_request_contributes_its_key_alone() {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name("root");
    params.subject_alt_names = vec![uri("aura://x/admin/y")];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let greedy = params.serialize_request(&tls_key().0).unwrap();
    let leaf = ca()
        .issue(
            greedy.der(),
            &subject(Role::Observer),
            [5; 16],
            NOW_S,
            WEEK_S,
        )
        .unwrap();
    assert_eq!(leaf, issued(Role::Observer));
}

#[test]
fn a_request_not_signed_by_its_own_key_is_refused() {
    let csr = tls_key().csr();
    let refused = |csr: &[u8]| {
        ca().issue(csr, &subject(Role::Member), [5; 16], NOW_S, WEEK_S) == Err(IssueError::Request)
    };
    for at in 0..csr.len() {
        let mut changed = csr.clone();
        changed[at] ^= 1;
        assert!(refused(&changed), "byte {at}");
        assert!(refused(&csr[..at]), "cut at {at}");
    }
    assert!(refused(&[&csr[..], b"x"].concat()));
    assert!(refused(&vec![0x30; DER_BYTES_MAX + 1]));
    let elliptic = KeyPair::generate().unwrap();
    let request = CertificateParams::default()
        .serialize_request(&elliptic)
        .unwrap();
    assert!(refused(request.der()), "a key of another algorithm");
}

#[test]
fn the_identity_key_is_not_taken_as_tls_key() {
    let reuse = Subject {
        peer: PeerId(tls_key().public()),
        ..subject(Role::Member)
    };
    assert_eq!(
        ca().issue(&tls_key().csr(), &reuse, [5; 16], NOW_S, WEEK_S),
        Err(IssueError::KeyReused)
    );
}

#[test]
fn no_certificate_outlives_its_authority() {
    let issue = |now_s, ttl_s| {
        ca().issue(
            &tls_key().csr(),
            &subject(Role::Member),
            [5; 16],
            now_s,
            ttl_s,
        )
    };
    let late_s = NOW_S + CA_TTL_S - 60;
    let leaf = CertIdentity::from_der(&issue(late_s, WEEK_S).unwrap()).unwrap();
    assert_eq!(leaf.not_after_s, NOW_S + CA_TTL_S);
    assert_eq!(
        issue(NOW_S + CA_TTL_S, WEEK_S),
        Err(IssueError::AuthorityEnded)
    );
    assert_eq!(issue(NOW_S, 0), Err(IssueError::Time));
    assert!(issue(NOW_S, u64::MAX).is_ok());
    assert!(matches!(
        Ca::create([1; 32], [2; 16], u64::MAX, "x"),
        Err(CaError::Time { .. })
    ));
}

#[test]
fn a_renewed_certificate_has_another_serial_and_half_life_is_known() {
    let renewed = ca()
        .issue(
            &tls_key().csr(),
            &subject(Role::Member),
            [6; 16],
            NOW_S,
            WEEK_S,
        )
        .unwrap();
    let [old, new] =
        [issued(Role::Member), renewed].map(|der| CertIdentity::from_der(&der).unwrap());
    assert_ne!(old.serial, new.serial);
    assert_eq!(old.serial.len(), 16);
    assert_eq!(old.renew_at_s(), NOW_S + (WEEK_S - LEAF_BACKDATE_S) / 2);
    let zero = ca().issue(
        &tls_key().csr(),
        &subject(Role::Member),
        [0; 16],
        NOW_S,
        WEEK_S,
    );
    assert_eq!(
        CertIdentity::from_der(&zero.unwrap()).unwrap().serial.len(),
        16
    );
    let full = ca().issue(
        &tls_key().csr(),
        &subject(Role::Member),
        [0xff; 16],
        NOW_S,
        WEEK_S,
    );
    assert_eq!(
        CertIdentity::from_der(&full.unwrap()).unwrap().serial.len(),
        16
    );
}

#[test]
fn case_018_a_certificate_that_is_not_a_live_leaf_of_our_authority_is_refused() {
    let good = spoiled(|_| ());
    CertIdentity::from_der(&good).unwrap();
    assert!(
        accepted_as_client(good, NOW_S),
        "the changes below must be the reason"
    );

    let authority = spoiled(|params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    assert_eq!(
        CertIdentity::from_der(&authority),
        Err(CertError::Authority)
    );
    assert!(!accepted_as_client(authority, NOW_S));
    assert_eq!(
        CertIdentity::from_der(ca().certificate()),
        Err(CertError::Authority)
    );

    let server_only =
        spoiled(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    assert!(!CertIdentity::from_der(&server_only).unwrap().may_dial);
    assert!(!accepted_as_client(server_only, NOW_S));

    assert!(
        !accepted_as_client(issued(Role::Member), NOW_S + WEEK_S + 1),
        "expired"
    );
    assert!(
        !accepted_as_client(issued(Role::Member), NOW_S - LEAF_BACKDATE_S - 600),
        "too early"
    );

    let self_signed = {
        let mut params = valid_until(NOW_S, NOW_S + WEEK_S).unwrap();
        params.extended_key_usages = usages(Role::Member);
        params.self_signed(&tls_key().0).unwrap().der().to_vec()
    };
    assert!(!accepted_as_client(self_signed, NOW_S));
    let other = Ca::create([9; 32], [2; 16], NOW_S, "acme").unwrap();
    let stranger = other
        .issue(
            &tls_key().csr(),
            &subject(Role::Member),
            [5; 16],
            NOW_S,
            WEEK_S,
        )
        .unwrap();
    assert!(
        !accepted_as_client(stranger, NOW_S),
        "another authority of the same name"
    );
}

#[test]
fn case_022_the_common_name_is_not_looked_at() {
    let named = |name: &str| {
        let subject = Subject {
            name: name.to_owned(),
            ..subject(Role::Member)
        };
        let der = ca()
            .issue(&tls_key().csr(), &subject, [5; 16], NOW_S, WEEK_S)
            .unwrap();
        CertIdentity::from_der(&der).unwrap()
    };
    let alice = PeerId([7; 32]);
    assert_eq!(named(&alice.to_string()), named("bob"));
    assert_eq!(named("alice").peer, peer());
}

#[test]
fn a_certificate_that_does_not_name_exactly_one_identity_is_nobodys() {
    let ours = identity_uri(ca().team(), Role::Member, peer());
    let other = identity_uri(ca().team(), Role::Admin, PeerId([7; 32]));
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let odd: [Vec<SanType>; 11] = [
        vec![],
        vec![uri(&ours), uri(&other)],
        vec![uri(&ours), uri(&ours)],
        vec![uri(&ours), SanType::DnsName("box".try_into().unwrap())],
        vec![SanType::DnsName("box".try_into().unwrap())],
        vec![uri(&ours.to_uppercase())],
        vec![uri(&format!("{ours}/"))],
        vec![uri(&ours.replace("/member/", "/owner/"))],
        vec![uri(&ours.replace("aura://", "https://"))],
        vec![uri(&ours.replace("/member", ""))],
        vec![uri(&identity_uri(
            ca().team(),
            Role::Member,
            PeerId(neutral),
        ))],
    ];
    for names in odd {
        let der = spoiled(|params| params.subject_alt_names = names.clone());
        assert_eq!(
            CertIdentity::from_der(&der),
            Err(CertError::Identity),
            "{names:?}"
        );
    }
}

#[test]
fn a_certificate_for_more_or_less_than_tls_is_refused() {
    let spoils: [&dyn Fn(&mut CertificateParams); 5] = [
        &|params| params.extended_key_usages.clear(),
        &|params| {
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::Any)
        },
        &|params| {
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::CodeSigning)
        },
        &|params| params.key_usages.clear(),
        &|params| params.key_usages.push(KeyUsagePurpose::KeyCertSign),
    ];
    for (index, spoil) in spoils.iter().enumerate() {
        let der = spoiled(|params| spoil(params));
        assert_eq!(
            CertIdentity::from_der(&der),
            Err(CertError::Usage),
            "{index}"
        );
    }
}

#[test]
fn no_cut_or_changed_certificate_makes_the_reader_panic() {
    let der = issued(Role::Member);
    for at in 0..der.len() {
        assert!(CertIdentity::from_der(&der[..at]).is_err(), "cut at {at}");
        for bit in 0..8 {
            let mut changed = der.clone();
            changed[at] ^= 1 << bit;
            let _ = CertIdentity::from_der(&changed);
        }
    }
    assert_eq!(
        CertIdentity::from_der(&[&der[..], b"x"].concat()),
        Err(CertError::Malformed)
    );
}
