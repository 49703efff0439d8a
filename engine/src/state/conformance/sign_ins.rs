//! Sign-ins of the console.

use super::*;

fn sign_in(kind: SignInKind, id: &str, expires: i64) -> SignIn {
    SignIn { kind, id: id.into(), proof: format!("proof of {id}"), expires_at: at(expires) }
}

pub(crate) async fn a_sign_in_is_shared_by_processes_until_it_ends(world: World<dyn State>) {
    // Another process has the lease.
    let _writer = world.writer().await;
    let (one, other) = (world.process(), world.process());
    one.put_sign_in(&sign_in(SignInKind::Session, "a", 10), at(0)).await.expect("kept");
    let proof =
        async |state: &dyn State, kind, id, now| state.sign_in(kind, id, at(now)).await.expect("read");
    assert_eq!(proof(&*other, SignInKind::Session, "a", 9).await.as_deref(), Some("proof of a"));
    assert_eq!(proof(&*other, SignInKind::Session, "a", 10).await, None, "it has expired");
    assert_eq!(proof(&*other, SignInKind::Session, "b", 1).await, None);
    assert_eq!(proof(&*other, SignInKind::Link, "a", 1).await, None, "it is no link");
    other.take_sign_in(SignInKind::Session, "a", at(1)).await.expect("asked").expect("there");
    assert_eq!(proof(&*one, SignInKind::Session, "a", 1).await, None, "it was ended");
}

pub(crate) async fn a_link_is_used_once_whoever_asks(world: World<dyn State>) {
    let (one, other) = (world.process(), world.process());
    for id in ["a", "late"] {
        one.put_sign_in(&sign_in(SignInKind::Link, id, 10), at(0)).await.expect("kept");
    }
    let (a, b) = tokio::join!(
        one.take_sign_in(SignInKind::Link, "a", at(1)),
        other.take_sign_in(SignInKind::Link, "a", at(1))
    );
    let (a, b) = (a.expect("asked"), b.expect("asked"));
    assert!(a.is_some() != b.is_some(), "one of the two: {a:?} {b:?}");
    assert_eq!(one.take_sign_in(SignInKind::Link, "late", at(10)).await.expect("asked"), None);
}

pub(crate) async fn sign_ins_that_expired_are_deleted(world: World<dyn State>) {
    let state = world.process();
    for (kind, id, expires) in [(SignInKind::Session, "old", 1), (SignInKind::Session, "young", 10)] {
        state.put_sign_in(&sign_in(kind, id, expires), at(0)).await.expect("kept");
    }
    state.put_sign_in(&sign_in(SignInKind::Link, "new", 10), at(5)).await.expect("kept");
    // Also for a clock that goes back.
    assert_eq!(state.sign_in(SignInKind::Session, "old", at(0)).await.expect("read"), None);
    assert!(state.sign_in(SignInKind::Session, "young", at(5)).await.expect("read").is_some());
    assert!(state.sign_in(SignInKind::Link, "new", at(5)).await.expect("read").is_some());
}
