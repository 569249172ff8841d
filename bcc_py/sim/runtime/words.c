/* Numbers as they lie in packets, and what the network calls its protocols and errors. */

enum { AF_INET = 2, AF_INET6 = 10 };
/* as they lie in the packet, read as little endian numbers */
enum { P_IP = 0x0008, P_IP6 = 0xdd86, P_VLAN = 0x0081, P_QINQ = 0xa888, P_802_3 = 0x0100, P_802_2 = 0x0400 };

static u16 load16(const u8 *at)
{
    u16 value;
    memcpy(&value, at, 2);
    return value;
}

static u32 load32(const u8 *at)
{
    u32 value;
    memcpy(&value, at, 4);
    return value;
}

static void store16(u8 *at, u16 value)
{
    memcpy(at, &value, 2);
}

static u16 swap16(u16 value)
{
    return (u16)(value << 8 | value >> 8);
}

static u32 swap32(u32 value)
{
    return value << 24 | (value & 0xff00) << 8 | ((value >> 8) & 0xff00) | value >> 24;
}
