//! Every key of the configuration, declared once: name, type, default, limits, meaning.
//!
//! The first sentence after `///` is what the reference says, so it names units and what zero or
//! an empty string stands for. `=> live` marks what a running stack follows (`crate::reload`).

use std::path::PathBuf;

use super::choice::choices;
use super::features::Features;
use super::named::NamedQuotas;
use super::profile::Profile;
use super::setting::{MOST, Real, real, whole};
use super::table::{Section, is_live, layer, limits, prefix, reach, section};

/// Slots of every domain together: a 4-bit domain and a 24-bit local id.
const SLOTS: u64 = 1 << 28;

/// The largest finite weight, as the shortest decimal that a 32-bit float rounds to its maximum.
const WEIGHT: f64 = 3.402_823_5e38;

/// The shares of a limit that can be a mark. At 0 an empty store would have crossed it.
const MARKS: Real = real(0.01, 1.0);

/// The largest field radius that a token can hold: 255 steps of 0.01.
const RADIUS: f64 = 2.55;

section! {
    /// What the stack shall be: a section for each layer, and the profile that its defaults are from.
    StackConfig at () {
        /// The set of defaults that everything below starts from.
        profile: Profile = Profile::Default;
    }
    with {
        /// The token store.
        engine: EngineConfig,
        /// The write-ahead log.
        wal: WalConfig,
        /// Limits on what is made.
        guardian: GuardianConfig,
        /// Counters and histograms.
        metrics: MetricsConfig,
        /// Spans of sampled operations.
        tracing: TracingConfig,
        /// The flight recorder.
        blackbox: BlackboxConfig,
        /// The service that `ng serve` runs.
        serve: ServeConfig,
        /// What the program itself says on standard error.
        log: LogConfig,
    }
}

impl StackConfig {
    /// Every section, in the order of the file.
    pub(super) const SECTIONS: &'static [&'static Section] = &[
        &Self::SECTION,
        &EngineConfig::SECTION,
        &WalConfig::SECTION,
        &GuardianConfig::SECTION,
        &ConstitutionConfig::SECTION,
        &MetricsConfig::SECTION,
        &TracingConfig::SECTION,
        &BlackboxConfig::SECTION,
        &ServeConfig::SECTION,
        &LogConfig::SECTION,
    ];
}

/// The defaults, with the layers that are not compiled in switched off.
impl Default for StackConfig {
    fn default() -> Self {
        let mut config = Self::tabled();
        Features::COMPILED.limit(&mut config);
        config
    }
}

section! {
    /// The token store.
    EngineConfig at (engine) {
        /// Domain that new ids are in.
        domain: u8 = 0, whole(0, 15);
        /// Slots of 64 bytes whose memory is touched at the start, so that no token pays for a first
        /// touch; 0 touches none.
        populate_tokens: u64 = 0, whole(0, SLOTS);
    }
}

section! {
    /// The write-ahead log: what survives the process.
    WalConfig at (wal) needs Wal {
        /// Whether there is a log.
        kind: WalKind = WalKind::Log;
        /// Directory of the segments; made if it is missing, and locked while in use.
        dir: PathBuf = PathBuf::from("ng-data/wal");
        /// How segments are written.
        backend: WalBackend = WalBackend::Auto;
        /// When an appended record is made durable.
        mode: WalMode = WalMode::Group;
        /// Tokens for each one that is logged; 1 logs every token.
        every: u64 = 1, whole(1, MOST);
        /// Milliseconds after which a block that is not full goes to the disk.
        interval_ms: u64 = 1, whole(1, 10_000);
        /// Records after which a block that is not full goes to the disk; 0 waits for the block to fill
        /// or for the interval.
        batch_records: u64 = 0, whole(0, MOST);
        /// Size of a block in KiB.
        block_kib: u64 = 1024, whole(8, 16_384).multiple_of(4);
        /// Blocks in memory, shared by all lanes.
        buffers: u64 = 16, whole(2, 1024);
        /// Size of a segment in MiB; at least two blocks.
        segment_mib: u64 = 64, whole(1, 4096);
        /// Segments kept ready, pre-written with zeros; more of them let a burst run at the disk's speed.
        spare_segments: u64 = 1, whole(1, 64);
        /// MiB a second at which spares are pre-written while the log is in use, so that a burst has
        /// the disk to itself; 0 for as fast as the disk takes it.
        prewrite_mib_s: u64 = 256, whole(0, 1 << 20);
        /// What an append does when every block is full.
        on_full: OnFull = OnFull::Block;
        /// MiB of log after which a checkpoint of the store is written and the segments that it covers
        /// are let go; 0 only writes those that `max_log_mib` asks for.
        checkpoint_mib: u64 = 4096, whole(0, 1 << 30);
        /// MiB that segment files may take, spares and recycled ones included; 0 sets no limit. A
        /// checkpoint comes on top with 64 to 68 bytes a token, and two while one replaces another.
        max_log_mib: u64 = 0, whole(0, 1 << 30);
        /// What happens when segment files have come to `max_log_mib`.
        on_max_log: OnMaxLog = OnMaxLog::Checkpoint;
        /// Segments that are kept to be used again when a checkpoint has let go of them; the others
        /// are removed.
        recycled_segments: u64 = 4, whole(0, 1024);
        /// Milliseconds that `on_full = "block_for"` waits.
        on_full_wait_ms: u64 = 100, whole(1, 600_000);
        /// What the engine does when the log fails for good.
        on_failure: OnFailure = OnFailure::Stop;
    }
}

section! {
    /// Limits on tokens and memory, and the cleanup that keeps within them.
    GuardianConfig at (guardian) needs Guardian {
        /// Whether there are limits.
        kind: GuardianKind = GuardianKind::Leases;
        /// Live tokens, beyond which a token is refused.
        max_tokens: u64 = 10_000_000, whole(1, MOST) => live;
        /// Bytes of live tokens, beyond which a token is refused.
        max_memory_bytes: u64 = 1_000_000_000, whole(64, MOST) => live;
        /// Share of a limit at which a warning is recorded.
        soft_mark: f64 = 0.80, MARKS => live;
        /// Share of a limit above which the cleanup starts; above `soft_mark`.
        cleanup_mark: f64 = 0.95, MARKS => live;
        /// Share of a limit that a cleanup brings use down to; below `cleanup_mark`.
        cleanup_target: f64 = 0.80, MARKS => live;
        /// Share of a limit by which use must sink below a mark before that can be crossed again; below
        /// `soft_mark`.
        rearm: f64 = 0.05, MARKS;
        /// Tokens that a lane takes at most at a time without asking again: a sixteenth of it at first, and
        /// twice as many each time that it has used them up and no one else needed them.
        max_lease: u64 = 16_384, whole(1, 1 << 20);
        /// Whether the cleanup deletes tokens; never a persistent or locked one.
        cleanup: bool = true;
        /// Which tokens a cleanup deletes first.
        cleanup_policy: CleanupPolicy = CleanupPolicy::LowestWeight;
        /// Tokens let in a second, beyond which a token is refused; 0 sets no rate.
        rate_per_second: u64 = 0, whole(0, u32::MAX as u64) => live;
        /// Tokens let in at once after a pause, where there is a rate; at least one batch of a lane.
        rate_burst: u64 = 100_000, whole(1, u32::MAX as u64) => live;
        /// Milliseconds between two readings of the process's memory.
        memory_interval_ms: u64 = 100, whole(1, 60_000);
        /// Share of the control group's memory limit at which tokens that need new memory are refused,
        /// counting what the kernel can't take back; 0 never refuses for it.
        memory_mark: f64 = 0.95, real(0.0, 1.0);
        /// Share of that limit by which use must sink below `memory_mark` before tokens are let in again;
        /// below that mark.
        memory_rearm: f64 = 0.05, MARKS;
        /// Directory of the constitution's history, which goes before `[guardian.constitution]` once it has
        /// an active version; "" keeps none.
        cdna_dir: Option<PathBuf> = None;
        /// Bytes by which resident memory may lie above that of tokens before it is told; 0 never tells.
        drift_bound_bytes: u64 = 1 << 30, whole(0, MOST);
    }
    with {
        /// Bounds on each token's fields.
        constitution: ConstitutionConfig,
        /// Quotas and pools by name, in the order of the file.
        named: NamedQuotas,
    }
}

section! {
    /// Bounds on each token's fields.
    ConstitutionConfig at (guardian.constitution) needs Guardian {
        /// Whether tokens are checked against these bounds.
        validation: bool = true => live;
        /// Whether a token outside the bounds is refused; `false` makes it and counts the violation.
        strict: bool = true => live;
        /// Lowest weight; at most `weight_max`.
        weight_min: f64 = -WEIGHT, real(-WEIGHT, WEIGHT) => live;
        /// Highest weight.
        weight_max: f64 = WEIGHT, real(-WEIGHT, WEIGHT) => live;
        /// Lowest field radius; at most `radius_max`.
        radius_min: f64 = 0.0, real(0.0, RADIUS) => live;
        /// Highest field radius.
        radius_max: f64 = RADIUS, real(0.0, RADIUS) => live;
        /// Lowest field strength; at most `strength_max`.
        strength_min: f64 = 0.0, real(0.0, 1.0) => live;
        /// Highest field strength.
        strength_max: f64 = 1.0, real(0.0, 1.0) => live;
    }
}

section! {
    /// Counters and histograms.
    MetricsConfig at (metrics) needs Telemetry {
        /// Whether anything is counted.
        kind: MetricsKind = MetricsKind::Sharded;
        /// Series that can be registered; further ones are refused and counted.
        max_series: u64 = 10_000, whole(1, 1_000_000);
        /// OTLP receiver that metrics are sent to, such as `http://localhost:4318`; "" sends none.
        otlp_endpoint: String = String::new();
        /// How they travel.
        otlp_protocol: OtlpProtocol = OtlpProtocol::Http;
        /// Milliseconds between two sendings.
        otlp_interval_ms: u64 = 10_000, whole(100, 3_600_000);
    }
}

section! {
    /// Spans of sampled operations.
    TracingConfig at (tracing) needs Telemetry {
        /// Whether operations are sampled.
        kind: TracingKind = TracingKind::Sampled;
        /// Share of operations that is sampled; 0 samples only what is forced or has a sampled parent.
        rate: f64 = 0.01, real(0.0, 1.0) => live;
        /// Samples a second that the rate is steered to, instead of `rate`; 0 leaves the rate fixed.
        target_per_second: u64 = 0, whole(0, 10_000_000);
        /// Samples a second at most, those of sampled parents excepted; 0 limits nothing.
        limit_per_second: u64 = 0, whole(0, 10_000_000);
        /// Rates of operations by name, such as `"http.*=0.1, create=0.001"`; the first that fits counts.
        rules: String = String::new();
        /// Where finished spans go.
        exporter: SpanExporter = SpanExporter::File;
        /// File that the exporters `file`, `otlp_file` and `chrome` write; "" counts spans and drops them.
        output: Option<PathBuf> = Some(PathBuf::from("ng-data/spans.jsonl"));
        /// Receiver of the exporter `otlp`; `/v1/traces` is added over HTTP if there is no path.
        endpoint: String = "http://localhost:4318".to_owned();
        /// How `otlp` travels.
        protocol: OtlpProtocol = OtlpProtocol::Http;
        /// Whether `otlp` is compressed with gzip.
        gzip: bool = false;
        /// Milliseconds that a request of `otlp` may take with its retries.
        timeout_ms: u64 = 10_000, whole(10, 600_000);
        /// Name of this service in what is sent.
        service: String = "neurograph".to_owned();
        /// Spans that each lane's ring holds; when it is full, spans are dropped and counted.
        lane_spans: u64 = 2048, whole(1, 65_536);
        /// Spans of `tracing` macros and promoted ones that may wait for the exporter; further ones are
        /// dropped and counted.
        queue_spans: u64 = 8192, whole(1, 1_000_000);
        /// Spans that the exporter gets at a time.
        batch_spans: u64 = 512, whole(1, 65_536);
        /// Whether operations that failed become spans after the fact, though nobody sampled them.
        promote_errors: bool = true;
        /// Milliseconds from which on an unsampled operation becomes a span after the fact, by the
        /// tick of a millisecond; 0 makes none.
        slow_ms: u64 = 100, whole(0, 3_600_000);
        /// Spans made after the fact a second at most; further ones are counted.
        promote_per_second: u64 = 100, whole(1, 1_000_000);
        /// Milliseconds that the end waits for the exporter.
        shutdown_ms: u64 = 5000, whole(0, 600_000);
    }
}

section! {
    /// The flight recorder: the last events, readable after the process is gone.
    BlackboxConfig at (blackbox) needs Blackbox {
        /// Whether events are recorded.
        kind: BlackboxKind = BlackboxKind::Rings;
        /// Directory of the rings; in memory, so that recording never waits for a disk.
        dir: PathBuf = PathBuf::from("/dev/shm/neurograph");
        /// Events of 32 bytes in each thread's ring of operations.
        operation_events: u64 = 16_384, whole(64, 1 << 22).power_of_two();
        /// Events of 32 bytes in each thread's ring of sampled operations.
        sampled_events: u64 = 4096, whole(64, 1 << 20).power_of_two();
        /// Events of 256 bytes in each thread's ring of rare events, such as refusals.
        rare_events: u64 = 2048, whole(64, 1 << 16).power_of_two();
        /// Threads with rings of their own; those beyond them record nothing, and are counted.
        max_rings: u64 = 64, whole(1, 4096);
        /// File that a panic dumps the last events to as JSON; "" dumps none.
        dump_on_panic: Option<PathBuf> = None;
        /// Events in a dump.
        dump_events: u64 = 1000, whole(1, 1_000_000);
        /// Whether the rings stay after a clean end; after a crash they always do.
        keep_on_exit: bool = false;
        /// Whether SIGSEGV, SIGABRT, SIGBUS, SIGILL, SIGTRAP and SIGFPE leave a mark before they end the
        /// process.
        crash_marks: bool = true;
        /// Dead processes whose rings are kept, the latest ones; 0 keeps none beyond the report at the next
        /// start.
        keep_dead: u64 = 8, whole(0, 10_000);
        /// MiB that the rings of dead processes may take; the latest one is kept whatever its size.
        keep_dead_mib: u64 = 64, whole(0, 1_048_576);
    }
}

section! {
    /// The service that `ng serve` runs: where it listens, whom it lets in, what it takes.
    ServeConfig at (serve) {
        /// Address and port of the gateway; port 0 takes a free one, "" listens on none.
        listen: String = "127.0.0.1:7700".to_owned();
        /// Address and port of the administration; port 0 takes a free one, "" listens on none.
        admin: String = "127.0.0.1:9464".to_owned();
        /// Unix socket of the gateway, beside `listen`; "" makes none.
        unix_socket: Option<PathBuf> = None;
        /// File with the token that callers bring as `Authorization: Bearer TOKEN`, before the variable
        /// `NEUROGRAPH_TOKEN`; "" for none.
        token_file: Option<PathBuf> = None => live;
        /// Whether a token that there is must be brought on loopback and the Unix socket too; beyond
        /// loopback it always must.
        require_token: bool = true => live;
        /// Whether to listen beyond loopback though there is no token: everyone can write then.
        insecure: bool = false;
        /// Whether callers without the token may ask to be sampled, by `X-Force-Trace`,
        /// `X-Sampling-Priority` and `X-Sampling-Rate`.
        trust_wishes: bool = false => live;
        /// Certificate chain in PEM, with which the gateway and the administration speak TLS; "" for none.
        tls_cert: Option<PathBuf> = None => live;
        /// Its private key in PEM; "" for none.
        tls_key: Option<PathBuf> = None => live;
        /// Threads that make tokens; 0 for one a core, at most 4.
        lanes: u64 = 0, whole(0, 64);
        /// Pieces of bodies that wait for a thread or are at work; a request that finds no room is
        /// answered 429.
        max_in_flight: u64 = 64, whole(1, 65_536);
        /// Connections of each address; further ones are answered 503.
        max_connections: u64 = 2048, whole(1, 1_000_000) => live;
        /// Size of a body in MiB, after decompression.
        max_body_mib: u64 = 1024, whole(1, 1 << 20) => live;
        /// Size of one row of a body in KiB.
        max_row_kib: u64 = 64, whole(1, 1024) => live;
        /// Rows that were not made that an answer lists; all are counted.
        max_refusals: u64 = 100, whole(0, 10_000) => live;
        /// Document of `ng stress --json` whose figures the live page shows; "" shows none.
        stress_json: Option<PathBuf> = None => live;
        /// Milliseconds for a request's head, for a TLS handshake, and for a connection without requests.
        header_timeout_ms: u64 = 10_000, whole(10, 600_000) => live;
        /// Milliseconds without a byte of a body.
        body_timeout_ms: u64 = 10_000, whole(10, 600_000) => live;
        /// Milliseconds for a whole body.
        request_timeout_ms: u64 = 120_000, whole(10, 86_400_000) => live;
        /// Milliseconds without a byte of an answer being taken.
        write_timeout_ms: u64 = 10_000, whole(10, 600_000) => live;
        /// Milliseconds that `?durable=true` waits for the disk.
        durable_timeout_ms: u64 = 10_000, whole(1, 600_000) => live;
        /// Milliseconds between two looks at the configuration's file and at those of token and certificate,
        /// which are read again once one has changed and all have rested from one look to the next; 0 reads
        /// them on SIGHUP only.
        config_watch_ms: u64 = 1000, whole(0, 3_600_000) => live;
        /// Milliseconds for what is under way to end after SIGTERM, and as many for the log to be flushed.
        drain_ms: u64 = 10_000, whole(0, 600_000) => live;
    }
}

section! {
    /// What the program itself says on standard error.
    LogConfig at (log) {
        /// The least severe message that is shown.
        level: LogLevel = LogLevel::Info => live;
        /// How a message is written.
        format: LogFormat = LogFormat::Human;
        /// Lines a second from one place in the program; what is beyond is counted, and the next line
        /// says how much. 0 limits nothing.
        per_second: u64 = 100, whole(0, 1_000_000);
    }
}

choices! {
    /// Whether there is a log.
    WalKind {
        /// Blocks in segments, written by one thread.
        Log = "log",
        /// None: nothing survives the process.
        Off = "off",
    }

    /// How segments are written.
    WalBackend {
        /// The best that works on this machine.
        Auto = "auto",
        /// `io_uring` past the page cache, several durable writes at once. Linux 5.11.
        Uring = "uring",
        /// Through mappings and `msync`: an error of the device may show late.
        Mmap = "mmap",
        /// Ordinary writes and `fdatasync`.
        Std = "std",
    }
    featured {
        "uring" needs "uring",
        "mmap" needs "mmap",
    }

    /// When an appended record is made durable.
    WalMode {
        /// With its block: when that is full, or after the interval.
        Group = "group",
        /// Before the append returns; concurrent appends share a sync.
        Each = "each",
        /// When the operating system likes: a power cut loses records that were appended.
        Os = "os",
    }

    /// What an append does when every block is full.
    OnFull {
        /// Waits for a block.
        Block = "block",
        /// Waits for at most `on_full_wait_ms`, then fails.
        BlockFor = "block_for",
        /// Drops the record, counts it, and leaves a gap record.
        Drop = "drop",
        /// Fails at once.
        Fail = "fail",
    }

    /// What happens when segment files have come to `max_log_mib`.
    OnMaxLog {
        /// A checkpoint is written at half of it already; if that is late, appends wait for it.
        Checkpoint = "checkpoint",
        /// Appends wait until a checkpoint has made room, as `on_full` lets them.
        Block = "block",
        /// Appends fail at once.
        Fail = "fail",
    }

    /// What the engine does when the log fails for good.
    OnFailure {
        /// Refuses every further token.
        Stop = "stop",
        /// Goes on without a log, and counts what is not logged.
        Continue = "continue",
    }

    /// Whether there are limits.
    GuardianKind {
        /// Exact limits; each lane leases room in advance.
        Leases = "leases",
        /// None: everything is let in.
        Off = "off",
    }

    /// Which tokens a cleanup deletes first.
    CleanupPolicy {
        /// Those of the lowest weight.
        LowestWeight = "lowest_weight",
        /// Those of the earliest time.
        Oldest = "oldest",
    }

    /// Whether anything is counted.
    MetricsKind {
        /// A shard for each lane, merged when read.
        Sharded = "sharded",
        /// Nothing is counted.
        Off = "off",
    }

    /// Whether operations are sampled.
    TracingKind {
        /// Decided before the operation; one that is not sampled costs a countdown.
        Sampled = "sampled",
        /// No spans.
        Off = "off",
    }

    /// Where finished spans go.
    SpanExporter {
        /// A span to a line of `output`, as JSON.
        File = "file",
        /// A batch to a line of `output`, as OTLP's file format has it.
        OtlpFile = "otlp_file",
        /// A picture in `output`, for Perfetto, speedscope or `chrome://tracing`.
        Chrome = "chrome",
        /// The receiver `endpoint`: Jaeger, a collector, or another that takes OTLP.
        Otlp = "otlp",
    }
    featured {
        "otlp" needs "otlp",
    }

    /// How OTLP travels.
    OtlpProtocol {
        /// HTTP with protobuf; receivers listen on port 4318.
        Http = "http",
        /// gRPC; receivers listen on port 4317.
        Grpc = "grpc",
    }

    /// Whether events are recorded.
    BlackboxKind {
        /// Rings of each thread in shared memory.
        Rings = "rings",
        /// No events.
        Off = "off",
    }

    /// The least severe message that is shown.
    LogLevel {
        /// What failed.
        Error = "error",
        /// What may fail soon, or was not done as asked.
        Warn = "warn",
        /// What was started, ended, found.
        Info = "info",
        /// What each part does.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }

    /// How a message is written.
    LogFormat {
        /// For people, in lines.
        Human = "human",
        /// One JSON object a line.
        Json = "json",
    }
}
