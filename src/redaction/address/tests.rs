use super::super::Engine;

/// What of a text is an address, in order.
fn addresses(text: &str) -> Vec<String> {
    let (_, findings) = Engine::shipped().inspect(text, None);
    let of_it = findings.into_iter().filter(|finding| finding.entity.as_str() == "ADDRESS");
    of_it.map(|finding| text[finding.start..finding.end].to_owned()).collect()
}

/// Texts with what is an address between `»` and `«`.
#[track_caller]
fn assert_marked(texts: &[&str]) {
    let mut wrong = Vec::new();
    for marked in texts {
        let text = marked.replace(['»', '«'], "");
        let expected: Vec<&str> =
            marked.split('»').skip(1).filter_map(|part| part.split('«').next()).collect();
        let found = addresses(&text);
        if found != expected {
            wrong.push(format!("{marked:?} gave {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn english_addresses() {
    assert_marked(&[
        "Please ship it to »12 Oak Street«.",
        "Send it to »1600 Pennsylvania Avenue NW, Washington, DC 20500« by Friday.",
        "I live at »226 Thomas Avenue, Apt. 5B, Austin, TX 78701-1234, USA« now",
        "»350 Fifth Avenue, Suite 300, New York, NY 10118«",
        "at »10 Downing Street, London SW1A 2AA«",
        "The postcode is »EC1A 1BB«.",
        "»221B Baker Street, London«",
        "»45 St. John's Road\nApt 3\nToronto\nOntario M5V 2T6«",
        "»1 King William St, Adelaide«",
        "We are in »Austin, TX 78701«.",
        "Kindly return to »P.O. Box 1234, Springfield, IL 62701«",
        "»PSC 9236, Box 1684\nAPO AP 02137«",
        "»Unit 2451 Box 9006\nDPO AA 78045«",
        "»USS Smith\nFPO AE 09012«",
        "the show on »Ivanović Street« was good",
    ]);
}

#[test]
fn addresses_of_other_countries() {
    assert_marked(&[
        "Ich wohne in der »Hauptstraße 12a, 10115 Berlin«.",
        "»Karl-Marx-Allee 99, 10243 Berlin«",
        "»Mariahilfer Straße 5/12, 1060 Wien«",
        "Postanschrift: »Postfach 10 20 30, 50667 Köln«",
        "habite au »12 rue Victor Hugo, 75001 Paris«",
        "»3 bis avenue de la République, 69003 Lyon«",
        "Vivo en »Calle de Alcalá 45, 28014 Madrid«",
        "Abito in »Via Giuseppe Garibaldi 7, 20121 Milano«",
        "»Rua Augusta 1500, São Paulo«",
        "»Keizersgracht 123, 1015 CJ Amsterdam«",
        "»Váci utca 12, Budapest«",
        "»ul. Piotrkowska 85, 90-423 Łódź«",
        "»Drottninggatan 5, Stockholm«",
        "»Nørregade 10, 1165 København«",
    ]);
}

#[test]
fn what_is_no_address() {
    assert_marked(&[
        "Take 2 tablets at 10 on Monday",
        "Turn left at Main Street and go straight for 2 miles.",
        "12 Angry Men and 101 Dalmatians",
        "Wall Street and Downing Street reacted",
        "version 2 Build 45, released 11 August 2022",
        "5 Star Hotel, 2 Bedroom Apartment near the Road",
        "Route 66 and Chapter 11 and Windows 10 Pro",
        "It took 3 days and 20 minutes. The way 2 go.",
        "iPhone 15 Pro Max 256 GB",
        "Der Weg 2 war kürzer; im Ring 3 kämpfen; Platz 1",
        "10115 people in Berlin",
        "SE 2AA or B2 4AB1",
        "<ADDRESS_1>, 12 <PERSON_1>",
    ]);
}
