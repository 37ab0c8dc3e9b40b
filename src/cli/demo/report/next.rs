//! How to go on.

use crate::cli::{
    demo::{Target, layout::Page},
    terminal::program,
};

pub(super) fn write(target: &Target<'_>, page: &mut Page) {
    let program = program();
    let data_dir = target.data_dir.display();
    let database = target.clickhouse.database();
    page.section("How to go on");
    page.note(&format!("The data stays in {data_dir}; running the demo again adds to it."));
    if target.own_server {
        page.paragraph("Keep a ClickHouse with this data and a collector up until Ctrl-C:");
        page.command(&format!("{program} dev --data-dir {data_dir}"));
        page.paragraph("Then, in another terminal, ask ClickHouse:");
    } else {
        page.paragraph("Run a collector against the same ClickHouse until Ctrl-C:");
        page.command(&format!(
            "{program} serve --data-dir {data_dir} --clickhouse-url {}",
            target.server.url
        ));
        page.paragraph("Then, in another terminal, ask ClickHouse:");
    }
    // What `dev` will listen on: the demo's own ports may have been free ones.
    let clickhouse = if target.own_server { "http://127.0.0.1:8123" } else { target.server.url.as_str() };
    page.command(&format!(
        "curl '{clickhouse}/?database={database}' --data-binary \\\n  'SELECT training_scope, eligibility_reason, count() \
         FROM events FINAL\n   GROUP BY ALL FORMAT Pretty'"
    ));
    page.paragraph("Send an event from a shell; the collector has reflection, so grpcurl needs no files:");
    page.command(GRPCURL);
    page.paragraph("Or from Python (pip install grpcio-tools), in the repository's folder:");
    page.command(&PYTHON.replace("OUT", &format!("{data_dir}/python")));
    page.paragraph("Set that person's consent, and see what holds:");
    page.command(&format!(
        "{program} consent set --data-dir {data_dir} \\\n  --user ana@example.com --jurisdiction BR --scope first-party \
         --state granted\n{program} consent get --data-dir {data_dir} \\\n  --user ana@example.com --jurisdiction BR"
    ));
}

const GRPCURL: &str = r#"grpcurl -plaintext -d @ 127.0.0.1:50051 assent.v1.CollectorService/Collect <<EOF
{"events": [{"event_id": "$(uuidgen)", "user_id": "ana@example.com", "jurisdiction": "BR",
  "occurred_at": "$(date -u +%FT%TZ)", "feature": "compose",
  "typed_text": {"text": "Write to ana@example.com, please.", "language": "en"}}]}
EOF"#;

/// `OUT` stands for the folder of the generated code.
const PYTHON: &str = r#"mkdir -p OUT
python3 -m grpc_tools.protoc -I proto \
  --python_out=OUT --grpc_python_out=OUT proto/assent/v1/*.proto
PYTHONPATH=OUT python3 - <<'EOF'
import grpc, uuid
from assent.v1 import collector_pb2 as pb, collector_pb2_grpc as rpc
text = pb.TypedText(text="Write to ana@example.com, please.", language="en")
event = pb.Event(event_id=str(uuid.uuid4()), user_id="ana@example.com", jurisdiction="BR",
                 typed_text=text)
event.occurred_at.GetCurrentTime()
with grpc.insecure_channel("127.0.0.1:50051") as channel:
    print(rpc.CollectorServiceStub(channel).Collect(pb.CollectRequest(events=[event])))
EOF"#;
