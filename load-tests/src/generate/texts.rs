//! What people write: sentences with gaps, in several languages and scripts. `{name}`, `{topic}` and `{n}` are
//! filled in, so that texts differ as those of people do; `contacts` have an `{email}` or a `{phone}`.

/// A language's sentences and what fills them.
pub(super) struct Language {
    /// BCP 47.
    pub(super) tag: &'static str,
    /// Where its writers are, ISO 3166.
    pub(super) places: &'static [&'static str],
    /// Between two sentences.
    pub(super) space: &'static str,
    pub(super) names: &'static [&'static str],
    pub(super) topics: &'static [&'static str],
    pub(super) sentences: &'static [&'static str],
    pub(super) contacts: &'static [&'static str],
    /// The start of a number that is reserved for fiction; two digits follow.
    pub(super) phone: &'static str,
}

pub(super) static LANGUAGES: &[Language] = &[
    Language {
        tag: "en",
        places: &["US", "US-CA", "US-NY", "GB", "IE", "CA", "AU", "IN"],
        space: " ",
        names: &["Maya", "Oliver", "Priya", "Jonah", "Grace", "Hassan", "Ruth", "Callum", "Imani", "Tess"],
        topics: &[
            "the spring budget",
            "our onboarding guide",
            "the delivery to Leeds",
            "the new rota",
            "the grant report",
            "next month's workshop",
            "the kitchen refit",
            "the audit",
            "the survey results",
            "the rental contract",
        ],
        sentences: &[
            "Hi {name}, thanks for getting back to me so quickly about {topic}.",
            "I have read through {topic} twice now and I think section {n} still needs a clearer ending.",
            "Could we move our call to half past {n}, or does that clash with the school run?",
            "{name} said the parcel left the warehouse with {n} boxes, but only some of them reached us.",
            "To be honest, I would rather wait a week than send something we are not proud of.",
            "Please find below the {n} points that we agreed on after talking about {topic}.",
            "If nobody objects by Thursday, {name} will go ahead and book the room.",
            "The figures for {topic} look better than last year, mostly because we paid {n} invoices early.",
            "Sorry for the late reply; the train stood outside the station for {n} minutes.",
            "I'm attaching a rough draft of {topic}, so please be kind and be quick.",
            "What worries me is not the cost but how little time {name} has left for {topic}.",
            "Let me know which of the {n} options you prefer and I'll write it up properly.",
        ],
        contacts: &[
            "You can reach me at {email} if anything about {topic} is unclear.",
            "Just call {phone} when you are at the gate and {name} will let you in.",
            "Send the signed copy to {email}, or ring {phone} before noon.",
        ],
        phone: "+44 20 7946 09",
    },
    Language {
        tag: "de",
        places: &["DE", "AT", "CH"],
        space: " ",
        names: &["Annika", "Moritz", "Frau Seidel", "Herr Okafor", "Leonie", "Tarek", "Birgit", "Jannis"],
        topics: &[
            "das Angebot für die Werkstatt",
            "der Umzug ins Erdgeschoss",
            "die Auswertung vom Herbst",
            "der Entwurf des Vertrags",
            "die Schulung im Mai",
            "das Protokoll der Sitzung",
        ],
        sentences: &[
            "Guten Morgen {name}, vielen Dank für die schnelle Rückmeldung.",
            "Es geht noch einmal um folgendes Thema: {topic}.",
            "Von den {n} bestellten Stühlen sind bisher leider nur wenige angekommen.",
            "Könnten wir den Termin um {n} Minuten nach hinten schieben, weil die Bahn wieder einmal ausfällt?",
            "Ich habe die Unterlagen geprüft und auf Seite {n} zwei kleine Fehler gefunden.",
            "{name} hat vorgeschlagen, dass wir uns vorher ohne den Kunden zusammensetzen.",
            "Mir ist wichtig, dass wir niemandem etwas versprechen, das wir nicht halten können.",
            "Bitte geben Sie mir bis übermorgen Bescheid, damit ich die Räume verbindlich buchen kann.",
            "Die Zahlen sehen besser aus als erwartet, vor allem im {n}. Quartal der Laufzeit.",
        ],
        contacts: &[
            "Schreiben Sie mir einfach an {email}, dann kümmere ich mich darum.",
            "Telefonisch erreichen Sie uns unter {phone}, am besten vormittags.",
        ],
        phone: "+49 30 23125 0",
    },
    Language {
        tag: "fr",
        places: &["FR", "BE", "CH", "CA"],
        space: " ",
        names: &["Élodie", "Mathieu", "Madame Perrin", "Yanis", "Solène", "Baptiste", "Inès"],
        topics: &[
            "le devis de la toiture",
            "la réunion de rentrée",
            "le compte rendu",
            "la traduction du guide",
            "le planning d'été",
            "la commande de papier",
        ],
        sentences: &[
            "Bonjour {name}, je vous remercie pour votre réponse rapide.",
            "Je reviens vers vous au sujet suivant : {topic}.",
            "Serait-il possible de décaler notre rendez-vous de {n} minutes ?",
            "Sur les {n} cartons annoncés, il en manque encore plusieurs à la livraison.",
            "J'ai relu l'ensemble du texte et je propose de raccourcir la page {n}.",
            "{name} préfère attendre l'accord de la direction avant d'envoyer quoi que ce soit.",
            "À mon avis, il vaut mieux dire franchement que nous aurons une semaine de retard.",
            "Dites-moi laquelle des {n} propositions vous convient le mieux, et je m'occupe du reste.",
        ],
        contacts: &[
            "Vous pouvez m'écrire à {email} à tout moment.",
            "N'hésitez pas à m'appeler au {phone} si le portail est fermé.",
        ],
        phone: "+33 1 99 00 12 ",
    },
    Language {
        tag: "es",
        places: &["ES", "MX", "AR", "CO"],
        space: " ",
        names: &["Lucía", "Mateo", "la señora Ibáñez", "Nahuel", "Carmen", "Joaquín"],
        topics: &[
            "el presupuesto de la obra",
            "la guía para nuevos compañeros",
            "el informe de octubre",
            "la reserva del salón",
            "el pedido de azulejos",
        ],
        sentences: &[
            "Hola, {name}: gracias por contestar tan pronto.",
            "Le escribo otra vez por un asunto pendiente: {topic}.",
            "De las {n} cajas que salieron del almacén solo han llegado unas pocas.",
            "¿Podríamos retrasar la llamada {n} minutos para que me dé tiempo a llegar?",
            "He revisado el documento y creo que el apartado {n} se entiende mejor sin el último párrafo.",
            "{name} prefiere esperar antes que entregar algo a medias.",
            "Si nadie dice lo contrario antes del viernes, confirmamos la fecha.",
        ],
        contacts: &[
            "Puede escribirme a {email} cuando lo tenga listo.",
            "Mi teléfono es {phone}, por si hay algún problema en la entrada.",
        ],
        phone: "+1 202-555-01",
    },
    Language {
        tag: "pt-BR",
        places: &["BR"],
        space: " ",
        names: &["Thaís", "Rafael", "dona Célia", "Ícaro", "Bianca", "Otávio"],
        topics: &[
            "o contrato do galpão",
            "a escala de dezembro",
            "o relatório da pesquisa",
            "a reforma da copa",
        ],
        sentences: &[
            "Oi, {name}, obrigado por responder tão rápido.",
            "Queria retomar um assunto da semana passada: {topic}.",
            "Das {n} caixas que pedimos, algumas ainda não chegaram.",
            "Será que dá para adiar a conversa em {n} minutos?",
            "Li tudo de novo e acho que a parte {n} ficou comprida demais.",
            "{name} prefere esperar a confirmação antes de mandar qualquer coisa para o cliente.",
            "Se ninguém for contra até quinta, eu reservo a sala.",
        ],
        contacts: &[
            "Pode me escrever em {email} a qualquer hora.",
            "Qualquer coisa, ligue para {phone} e peça para falar comigo.",
        ],
        phone: "+1 202-555-01",
    },
    Language {
        tag: "pl",
        places: &["PL"],
        space: " ",
        names: &["Zosia", "Kacper", "pani Wójcik", "Błażej", "Hania"],
        topics: &["umowa najmu", "sprawozdanie z warsztatów", "zamówienie na krzesła", "grafik na lipiec"],
        sentences: &[
            "Cześć {name}, dziękuję za szybką odpowiedź.",
            "Wracam jeszcze do jednej sprawy: {topic}.",
            "Z {n} zamówionych paczek dotarło do nas na razie tylko kilka.",
            "Czy moglibyśmy przesunąć spotkanie o {n} minut?",
            "Przeczytałem całość i na stronie {n} znalazłem dwie drobne pomyłki.",
            "{name} woli poczekać, niż wysłać coś niedokończonego.",
        ],
        contacts: &[
            "Proszę pisać na adres {email}, odpowiadam tego samego dnia.",
            "Mój numer telefonu to {phone}, najlepiej dzwonić po południu.",
        ],
        phone: "+1 202-555-01",
    },
    Language {
        tag: "ja",
        places: &["JP"],
        space: "",
        names: &["佐々木さん", "藤原さん", "ミカさん", "大西さん"],
        topics: &["来月の研修", "見積書", "引っ越しの日程", "アンケートの結果"],
        sentences: &[
            "{name}、早速のご返信ありがとうございます。",
            "{topic}について、もう一度ご相談させてください。",
            "注文した{n}箱のうち、まだ届いていないものがあります。",
            "打ち合わせを{n}分ほど遅らせていただくことは可能でしょうか。",
            "資料を読み直しましたが、{n}ページの説明が少し分かりにくいと感じました。",
            "{name}は、中途半端なものを送るより一週間待つほうがよいという意見です。",
        ],
        contacts: &[
            "ご不明な点は{email}までご連絡ください。",
            "到着されましたら電話{phone}までお知らせください。",
        ],
        phone: "+1 202-555-01",
    },
    Language {
        tag: "hi",
        places: &["IN"],
        space: " ",
        names: &["अदिति", "रोहन", "श्रीमती कुलकर्णी", "फ़रहान"],
        topics: &["अगले महीने की कार्यशाला", "किराये का अनुबंध", "सर्वेक्षण के नतीजे"],
        sentences: &[
            "नमस्ते {name}, इतनी जल्दी उत्तर देने के लिए धन्यवाद।",
            "मैं फिर से इस विषय पर लिख रहा हूँ: {topic}।",
            "हमने {n} डिब्बे मँगवाए थे, पर कुछ अब तक नहीं पहुँचे हैं।",
            "क्या हम बैठक को {n} मिनट आगे बढ़ा सकते हैं?",
            "मैंने पूरा मसौदा पढ़ लिया है और पृष्ठ {n} पर एक छोटी गलती मिली।",
        ],
        contacts: &["कोई सवाल हो तो {email} पर लिखें।", "पहुँचने पर फ़ोन {phone} पर बता दें।"],
        phone: "+1 202-555-01",
    },
];

/// What people write about a suggestion. Mostly nothing.
pub(super) static COMMENTS: &[&str] = &[
    "Close, but too formal for this reader.",
    "It left out the date.",
    "Exactly the tone I wanted.",
    "Klingt gut, aber zu lang.",
    "Ce n'est pas ce que je voulais dire.",
    "Demasiado repetitivo.",
];

/// How a writer changes a suggestion.
pub(super) static EDITS: &[&str] =
    &[" Thanks again!", " (see below)", " – bis bald", " Merci d'avance.", " :)"];
