//! The protocols of TCP that are looked for.

macro_rules! protocols {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal,)+) => {
        /// A protocol of TCP.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Protocol {
            $($(#[$doc])+ $variant,)+
        }

        impl Protocol {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name in the log.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

protocols! {
    /// AMQP 0-9-1 and 1.0.
    Amqp = "amqp",
    /// The native protocol of Cassandra.
    Cassandra = "cassandra",
    /// FTP, its commands.
    Ftp = "ftp",
    /// HTTP/1.0, 1.1 and 2, WebSockets in a WebSocket among them.
    Http = "http",
    /// IMAP.
    Imap = "imap",
    /// Kafka.
    Kafka = "kafka",
    /// MongoDB.
    MongoDb = "mongodb",
    /// MQTT.
    Mqtt = "mqtt",
    /// MySQL and MariaDB.
    MySql = "mysql",
    /// NATS.
    Nats = "nats",
    /// OpenVPN over TCP.
    OpenVpn = "openvpn",
    /// The network substrate of Oracle databases.
    Oracle = "oracle",
    /// POP3.
    Pop3 = "pop3",
    /// PostgreSQL.
    PostgreSql = "postgresql",
    /// Radmin.
    Radmin = "radmin",
    /// RDP, and what else begins with TPKT.
    Rdp = "rdp",
    /// Redis.
    Redis = "redis",
    /// RFB, the protocol of VNC.
    Rfb = "rfb",
    /// RTMP.
    Rtmp = "rtmp",
    /// SMB over TCP.
    Smb = "smb",
    /// SMTP.
    Smtp = "smtp",
    /// smux, many streams in one.
    Smux = "smux",
    /// SOCKS 4 and 4A.
    Socks4 = "socks4",
    /// SOCKS 5.
    Socks5 = "socks5",
    /// SSH, chisel among it.
    Ssh = "ssh",
    /// STOMP.
    Stomp = "stomp",
    /// TDS, the protocol of SQL Server.
    Tds = "tds",
    /// TeamViewer.
    TeamViewer = "teamviewer",
    /// Telnet.
    Telnet = "telnet",
    /// TLS.
    Tls = "tls",
    /// XMPP.
    Xmpp = "xmpp",
    /// yamux, many streams in one.
    Yamux = "yamux",
    /// Zabbix.
    Zabbix = "zabbix",
}
