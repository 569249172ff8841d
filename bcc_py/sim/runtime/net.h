/* What the network of the simulated kernel shares with its Python: contexts, sockets, interfaces. Declarations only,
   as in state.h.

   A context begins with the bytes that programs know from include/uapi/linux/bpf.h, at the same places, so that their
   loads and stores are plain ones. What Linux computes at each load (where the packet is) stands behind it. */

enum {
    TUNNEL_OPTION_BYTES = 255, INTERFACES = 16, NEIGHBOURS = 64, SOCKET_BUCKETS = 256
};

/* struct bpf_sock, then struct bpf_tcp_sock, then what helpers answer from. */
struct sock {
    u32 bound_dev_if;
    u32 family;
    u32 type;
    u32 protocol;
    u32 mark;
    u32 priority;
    u32 source_ip4;
    u32 source_ip6[4];
    u32 source_port; /* the host's byte order */
    u16 target_port; /* the network's */
    u16 zero;
    u32 target_ip4;
    u32 target_ip6[4];
    u32 state;
    s32 rx_queue;
    u8 tcp[112];
    u64 cookie;
    u64 cgroup_id;
    u64 netns_cookie;
    struct sock *next;     /* in the table of sockets */
    struct sock *listener; /* whose request this is */
    u32 uid;
    u32 class_id;
    u32 references;
    u32 is_listed;
    u32 bucket; /* where, while it is listed */
    u32 is_reuseport;
    u32 is_transparent;
    u32 callback_flags; /* of bpf_sock_ops_cb_flags_set */
    s32 options[80]; /* SOL_SOCKET's, by number */
    s32 tcp_options[32];
    s32 tos;
    s32 traffic_class;
    s32 auto_flow_label;
    u32 is_ip6_only;
    u8 congestion_name[16];
    u32 map_slots;   /* of maps of sockets that it is in, but reuseport arrays */
    u32 is_in_array; /* of SO_REUSEPORT sockets */
    u32 queue_id;    /* AF_XDP: what a program reads of it */
};

/* struct __sk_buff. Of data, data_end and data_meta its u32 say nothing: programs get the pointers behind the image. */
struct skb {
    u32 len;
    u32 pkt_type;
    u32 mark;
    u32 queue_mapping;
    u32 protocol;
    u32 vlan_present;
    u32 vlan_tci;
    u32 vlan_proto;
    u32 priority;
    u32 ingress_ifindex;
    u32 ifindex;
    u32 tc_index;
    u32 cb[5];
    u32 hash;
    u32 tc_classid;
    u32 data_word;
    u32 data_end_word;
    u32 napi_id;
    u32 family;
    u32 remote_ip4;
    u32 local_ip4;
    u32 remote_ip6[4];
    u32 local_ip6[4];
    u32 remote_port;
    u32 local_port;
    u32 data_meta_word;
    u8 *flow_keys;
    u64 tstamp;
    u32 wire_len;
    u32 gso_segs;
    struct sock *sk;
    u32 gso_size;
    u32 tstamp_type;
    u64 hwtstamp;
    u8 *data;
    u8 *data_end;
    u8 *data_meta;
    u8 *head;  /* the allocation: room bytes */
    u32 room;
    u16 mac_bytes; /* as a VLAN tag's coming and going left it */
    u16 mac_header; /* places in head, 0xffff: not set. They wrap around as Linux's do */
    u16 network_header;
    u16 transport_header;
    u8 csum_kind; /* CHECKSUM_NONE, _UNNECESSARY, _COMPLETE, _PARTIAL */
    u8 csum_level;
    u8 is_encapsulated;
    u8 has_hash;
    u8 has_tunnel;
    u8 is_ingress;
    u8 is_dodgy; /* changed while it stands for segments to be made */
    u8 tunnel_flags; /* 1: IPv6 */
    u8 tunnel_option_bytes;
    u8 tunnel[64]; /* struct bpf_tunnel_key */
    u8 tunnel_option[256];
    struct sock *assigned;
};

/* struct xdp_md. A packet longer than its first buffer goes on in frags: pages of PAGE bytes that follow each other. */
struct xdp {
    u32 data_word;
    u32 data_end_word;
    u32 data_meta_word;
    u32 ingress_ifindex;
    u32 rx_queue_index;
    u32 egress_ifindex;
    u8 *data;
    u8 *data_end;
    u8 *data_meta;
    u8 *head; /* one page */
    u8 *frags;
    u32 frag_bytes;
    u32 is_owned;
};

/* struct bpf_sock_addr. */
struct sock_addr {
    u32 user_family;
    u32 user_ip4;
    u32 user_ip6[4];
    u32 user_port;
    u32 family;
    u32 type;
    u32 protocol;
    u32 msg_src_ip4;
    u32 msg_src_ip6[4];
    u32 gap;
    struct sock *sk;
};

/* struct bpf_sock_ops, then how many bytes of TCP options may still come, and where the packet's memory ends. */
struct sock_ops {
    u32 op;
    u32 args[4];
    u32 family;
    u32 remote_ip4;
    u32 local_ip4;
    u32 remote_ip6[4];
    u32 local_ip6[4];
    u32 remote_port;
    u32 local_port;
    u32 is_fullsock;
    u32 tcp_a[2];
    u32 callback_flags;
    u32 state;
    u32 tcp_b[18];
    u32 txhash;
    u64 bytes_received;
    u64 bytes_acked;
    struct sock *sk;
    u8 *packet;
    u8 *packet_end;
    u32 packet_bytes;
    u32 packet_flags;
    u64 packet_hwtstamp;
    u32 option_room;
    u32 gap;
};

/* struct sk_reuseport_md, then the packet that a socket is chosen for. */
struct reuseport {
    u8 *data;
    u8 *data_end;
    u32 len;
    u32 eth_protocol;
    u32 ip_protocol;
    u32 bind_inany;
    u32 hash;
    u32 gap;
    struct sock *sk;
    struct sock *migrating_sk;
    struct skb *skb;
    u64 selected_cookie; /* of the socket that bpf_sk_select_reuseport chose, 0: none */
};

/* struct bpf_sockopt. */
struct sockopt {
    struct sock *sk;
    u8 *optval;
    u8 *optval_end;
    u32 level;
    u32 optname;
    u32 optlen;
    u32 retval;
};

/* struct bpf_sysctl, then the knob: its directory and name ("net/ipv4/", "ip_forward"), what it is and what is written. */
struct sysctl {
    u32 is_write;
    u32 file_pos;
    u8 directory[128];
    u8 name[64];
    u32 current_bytes;
    u32 new_bytes;
    u32 is_changed;
    u32 gap;
    u8 current[4096];
    u8 new_value[4096];
};

/* struct sk_msg_md, then the message: room bytes, of which size are used. first: how many of them are its first piece. */
struct msg {
    u8 *data;
    u8 *data_end;
    u32 family;
    u32 remote_ip4;
    u32 local_ip4;
    u32 remote_ip6[4];
    u32 local_ip6[4];
    u32 remote_port;
    u32 local_port;
    u32 size;
    struct sock *sk;
    u8 *bytes;
    u32 room;
    u32 apply_bytes;
    u32 cork_bytes;
    u32 gap;
};

/* struct bpf_sk_lookup. The socket that was chosen is what its first field shows. */
struct lookup {
    struct sock *sk;
    u32 family;
    u32 protocol;
    u32 remote_ip4;
    u32 remote_ip6[4];
    u32 remote_port;
    u32 local_ip4;
    u32 local_ip6[4];
    u32 local_port;
    u32 ingress_ifindex;
    u32 is_alone; /* not the group that the socket belongs to, just this one */
};

/* A network interface. Addresses as they lie in packets; those of IPv4 with the network's mask. */
struct interface {
    u32 index; /* 0: none */
    u32 mtu;
    u32 header_bytes;
    u32 is_forwarding;
    u32 ip4;
    u32 mask4;
    u32 gateway4; /* of the default route, 0: none leads here */
    u32 queues;
    u8 address[8];
};

/* Whose Ethernet address is known. */
struct neighbour {
    u32 interface;
    u32 ip4;
    u8 address[8];
};

/* The network of the simulated kernel: one name space. lock: of the sockets and of what counts them. */
struct net {
    u32 lock;
    u32 live; /* sockets */
    u64 last_cookie;
    u64 netns_cookie;
    u32 interface_count;
    u32 neighbour_count;
    struct interface interfaces[16];
    struct neighbour neighbours[64];
    struct sock *buckets[256]; /* by local port */
    struct map *socket_maps;
};
