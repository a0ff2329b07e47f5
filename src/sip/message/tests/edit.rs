use super::*;

fn written(edit: &Edit<'_>) -> String {
    let mut out = Vec::new();
    edit.write(&mut out);
    parsed(&out);
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn without_changes_every_byte_survives() {
    let message = parsed(INVITE);
    let mut out = Vec::new();
    Edit::new(&message).write(&mut out);
    assert_eq!(out, INVITE);
}

#[test]
fn a_proxy_edit() {
    let message = parsed(INVITE);
    let mut edit = Edit::new(&message);
    edit.set(Name::MaxForwards, b"69");
    edit.set_request_uri(b"sip:bob@192.0.2.4");
    edit.stamp_top_via("192.0.2.1".parse().unwrap(), 40000);
    edit.add_above(Name::RecordRoute, b"<sip:outside;lr>");
    edit.add_above(Name::RecordRoute, b"<sip:inside;lr>");
    edit.add_above(Name::Via, b"SIP/2.0/UDP edge;branch=z9hG4bKours");
    edit.remove(message.elements(Name::Route).next().unwrap());
    edit.remove_listed(&["p-asserted-identity", "x-o*"]);
    edit.append(b"X-New", b"1\r\nInjected: 1");
    edit.set_body(b"v=0");
    insta::assert_snapshot!(written(&edit).replace('\r', ""));
}

#[test]
fn elements_go_with_their_commas_and_lines() {
    let kept = |gone: &[usize]| {
        let message =
            parsed(&with("Route: <sip:edge.example.com;lr>, \"odd", "Route: <sip:e> , ,\r\n <sip:f>,\"odd"));
        let mut edit = Edit::new(&message);
        let routes: Vec<_> = message.elements(Name::Route).collect();
        for number in gone {
            edit.remove(routes[*number]);
        }
        let text = written(&edit);
        text.lines()
            .filter(|line| line.contains("<sip:"))
            .filter(|line| !line.contains('@'))
            .collect::<Vec<_>>()
            .join("|")
    };
    let odd = "\"odd, \\\" name\" <sip:b.example.com;x=1,2>;p=\"a,b\"";
    assert_eq!(kept(&[0]), format!("Route: <sip:f>,{odd}|Route: <sip:c.example.com;lr>"));
    assert_eq!(kept(&[2]), format!("Route: <sip:e> ,,{odd}|Route: <sip:c.example.com;lr>"));
    assert_eq!(kept(&[3]), "Route: <sip:e> , ,| <sip:f>|Route: <sip:c.example.com;lr>");
    assert_eq!(kept(&[0, 1, 2]), format!("Route: {odd}|Route: <sip:c.example.com;lr>"));
    assert_eq!(kept(&[3, 1, 2]), "Route: <sip:e>|Route: <sip:c.example.com;lr>");
    assert_eq!(kept(&[2, 0, 3, 1]), "Route: <sip:c.example.com;lr>");
    assert_eq!(kept(&[4, 2, 0, 3, 1]), "");
}

#[test]
fn changes_inside_of_what_goes_are_lost() {
    // Found by fuzzing: the new rport hid that the two elements are neighbours.
    let message = parsed(&with("branch=z9hG4bK74bf9", "branch=1, SIP/2.0/UDP b, SIP/2.0/UDP c"));
    let mut edit = Edit::new(&message);
    edit.stamp_top_via("192.0.2.1".parse().unwrap(), 40000);
    message.elements(Name::Via).take(2).for_each(|element| edit.remove(element));
    assert!(written(&edit).contains("SIP/2.0\r\nVia: SIP/2.0/UDP c\r\nv: "));
}

#[test]
fn set_after_removal_appends() {
    let message = parsed(INVITE);
    let mut edit = Edit::new(&message);
    edit.remove_all(Name::PAssertedIdentity);
    edit.set(Name::PAssertedIdentity, b"<sip:ours>");
    let text = written(&edit);
    assert!(text.contains("Content-Length: 4\r\nP-Asserted-Identity: <sip:ours>\r\n\r\n"), "{text}");
    assert!(!text.contains("<sip:x@y>"));
}

#[test]
fn a_response_to_it() {
    let mut out = Vec::new();
    let source = "192.0.2.1:40000".parse().unwrap();
    response_to(
        &parsed(INVITE),
        Some(source),
        486,
        reason_phrase(486),
        Some(b"tag1"),
        &[("Retry-After", b"5\n")],
        &mut out,
    );
    parsed(&out);
    insta::assert_snapshot!(String::from_utf8(out).unwrap().replace('\r', ""));
}
