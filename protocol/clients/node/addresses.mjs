import { BlockList, isIP } from 'node:net'

/** Not of the public internet: this machine, its network, what is reserved, and what leads back there. */
const NOT_PUBLIC_4 = [
  ['0.0.0.0', 8], ['10.0.0.0', 8], ['100.64.0.0', 10], ['127.0.0.0', 8], ['169.254.0.0', 16], ['172.16.0.0', 12],
  ['192.0.0.0', 24], ['192.0.2.0', 24], ['192.88.99.0', 24], ['192.168.0.0', 16], ['198.18.0.0', 15],
  ['198.51.100.0', 24], ['203.0.113.0', 24], ['224.0.0.0', 3],
]
/** All that is public begins with 001; of that the ranges that hold another address, or none. */
const PUBLIC_6 = ['2000::', 3]
const NOT_PUBLIC_6 = [['2001::', 23], ['2001:db8::', 32], ['2002::', 16], ['3fff::', 20]]

/** One of IPv4, written as one of IPv6. */
const MAPPED = '::ffff:'

const notPublic4 = new BlockList()
for (const [address, prefix] of NOT_PUBLIC_4) notPublic4.addSubnet(address, prefix, 'ipv4')
const public6 = new BlockList()
public6.addSubnet(...PUBLIC_6, 'ipv6')
const notPublic6 = new BlockList()
for (const [address, prefix] of NOT_PUBLIC_6) notPublic6.addSubnet(address, prefix, 'ipv6')

/** Whether an address is one of the public internet, to which a server may send what a stranger asked it to send. */
export function isPublicAddress(address) {
  const family = isIP(address)
  if (family === 4) return !notPublic4.check(address, 'ipv4')
  if (family === 6 && address.toLowerCase().startsWith(MAPPED)) return isPublicAddress(dotted(address))
  // A zone (`fe80::1%eth0`) is of a link, and so none that is public.
  if (family !== 6 || address.includes('%')) return false
  return public6.check(address, 'ipv6') && !notPublic6.check(address, 'ipv6')
}

/** The address of IPv4 in a mapped one, which may be written in either way; empty when there is none. */
function dotted(address) {
  const rest = address.slice(MAPPED.length)
  const [, high, low] = /^([0-9a-f]{1,4}):([0-9a-f]{1,4})$/i.exec(rest) ?? []
  if (high === undefined) return isIP(rest) === 4 ? rest : ''
  return [high, low].map((digits) => parseInt(digits, 16)).map((part) => `${part >> 8}.${part & 255}`).join('.')
}
