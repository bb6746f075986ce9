/** What may talk to what: security groups, network ACLs, subnets, and the ways in. */
import { createReport, itemsOf, textsOf, type Finding, type Report } from '../finding.ts'
import { nested, type Block, type Configuration } from './read.ts'

const EVERYWHERE: readonly unknown[] = ['0.0.0.0/0', '::/0']

/** Checks the network. */
export function checkNetwork({ blocks }: Configuration): Finding[] {
  const findings = blocks.flatMap((block) => {
    const report = createReport(block.file)
    const at = `${block.type}.${block.name}`
    rules[block.type]?.(report, at, block.body)
    return report.findings
  })
  return [...findings, ...checkWhole(blocks)]
}

type Rule = (report: Report, at: string, body: Block['body']) => void

const rules: Readonly<Record<string, Rule>> = {
  aws_security_group: (report, at, body) => {
    const isBare = !('ingress' in body) && !('egress' in body)
    report.expect(isBare, 'security-group', `${at}: rules are resources of their own`)
  },
  aws_default_security_group: (report, at, body) => {
    const isBare = !('ingress' in body) && !('egress' in body)
    report.expect(isBare, 'security-group', `${at}: must have no rule`)
  },
  aws_vpc_security_group_ingress_rule: (report, at, body) => {
    const isOpen = EVERYWHERE.includes(body['cidr_ipv4']) || EVERYWHERE.includes(body['cidr_ipv6'])
    const isHttps = body['from_port'] === 443 && body['to_port'] === 443
    report.expect(!isOpen || isHttps, 'open-ingress', `${at}: the whole internet, but not on 443`)
    checkPorts(report, at, body)
  },
  aws_vpc_security_group_egress_rule: (report, at, body) => {
    const isOpen = EVERYWHERE.includes(body['cidr_ipv4']) || EVERYWHERE.includes(body['cidr_ipv6'])
    report.expect(!isOpen, 'open-egress', `${at}: the whole internet`)
    checkPorts(report, at, body)
  },
  aws_network_acl: (report, at, body) => {
    for (const rule of nested(body, 'ingress')) {
      const isOpen = EVERYWHERE.includes(rule['cidr_block'])
      const isHttps = rule['from_port'] === 443 && rule['to_port'] === 443
      report.expect(!isOpen || isHttps, 'open-ingress', `${at}: the whole internet, but not on 443`)
    }
    // Network ACLs have no state: answers need a rule for the ports of clients.
    for (const rule of nested(body, 'egress')) {
      const isOpen = EVERYWHERE.includes(rule['cidr_block'])
      report.expect(!isOpen || rule['from_port'] === 1024, 'open-egress', `${at}: not only answers`)
    }
    for (const rule of [...nested(body, 'ingress'), ...nested(body, 'egress')]) {
      report.expect(rule['protocol'] !== '-1', 'all-protocols', `${at}: every protocol`)
    }
  },
  aws_subnet: (report, at, body) => {
    const isPrivate = body['map_public_ip_on_launch'] === false
    report.expect(isPrivate, 'public-address', `${at}: map_public_ip_on_launch = false`)
  },
  aws_route_table: (report, at, body) => {
    const isPublic = at === 'aws_route_table.public'
    const leaves = nested(body, 'route').length > 0
    report.expect(isPublic || !leaves, 'way-out', `${at}: only the public subnets have a route out`)
  },
  aws_key_pair: (report, at) => report.expect(false, 'ssh', `${at}: sessions go through SSM`),
  aws_launch_template: (report, at, body) => {
    const [metadata = {}] = nested(body, 'metadata_options')
    report.expect(metadata['http_tokens'] === 'required', 'imds', `${at}: http_tokens = "required"`)
    report.expect(!('key_name' in body), 'ssh', `${at}: sessions go through SSM`)
  },
  aws_lb_listener: (report, at, body) => {
    report.expect(body['protocol'] === 'HTTPS', 'tls', `${at}: HTTPS only`)
    const isModern = /^ELBSecurityPolicy-TLS13-1-[23]/.test(String(body['ssl_policy']))
    report.expect(isModern, 'tls', `${at}: a policy of TLS 1.3`)
  },
  aws_lb: (report, at, body) => {
    report.expect(
      body['drop_invalid_header_fields'] === true,
      'desync',
      `${at}: drop_invalid_header_fields`,
    )
    report.expect(body['desync_mitigation_mode'] === 'strictest', 'desync', `${at}: strictest`)
  },
  aws_lb_target_group: (report, at, body) => {
    report.expect(body['protocol'] === 'HTTPS', 'tls', `${at}: HTTPS to the servers`)
  },
  aws_cloudfront_distribution: (report, at, body) => {
    for (const behavior of [
      ...nested(body, 'default_cache_behavior'),
      ...nested(body, 'ordered_cache_behavior'),
    ]) {
      const policy = behavior['viewer_protocol_policy']
      report.expect(policy !== 'allow-all', 'tls', `${at}: viewers without TLS`)
    }
    const [certificate = {}] = nested(body, 'viewer_certificate')
    const isModern = /^TLSv1\.[23]_/.test(String(certificate['minimum_protocol_version']))
    report.expect(isModern, 'tls', `${at}: minimum_protocol_version`)
    for (const origin of nested(body, 'origin').flatMap((each) =>
      nested(each, 'custom_origin_config'),
    )) {
      report.expect(
        origin['origin_protocol_policy'] === 'https-only',
        'tls',
        `${at}: an origin without TLS`,
      )
    }
    report.expect('web_acl_id' in body, 'waf', `${at}: web_acl_id`)
  },
}

function checkPorts(report: Report, at: string, body: Block['body']): void {
  report.expect(body['ip_protocol'] !== '-1', 'all-protocols', `${at}: every protocol`)
  const isOne = typeof body['from_port'] === 'number' && body['from_port'] === body['to_port']
  report.expect(isOne, 'ports', `${at}: one port`)
  report.expect(body['from_port'] !== 22, 'ssh', `${at}: sessions go through SSM`)
}

function checkWhole(blocks: readonly Block[]): Finding[] {
  const report = createReport('terraform/')
  const all = (type: string): Block[] => blocks.filter((block) => block.type === type)
  const flow = all('aws_flow_log').some(
    ({ body }) => body['traffic_type'] === 'ALL' && String(body['vpc_id']).includes('aws_vpc.main'),
  )
  report.expect(flow, 'flow-log', 'a flow log of all traffic of the VPC')
  for (const tier of ['public', 'private', 'database']) {
    const acl = all('aws_network_acl').some(({ body }) =>
      JSON.stringify(body['subnet_ids'] ?? '').includes(`aws_subnet.${tier}`),
    )
    report.expect(acl, 'network-acl', `a network ACL of the ${tier} subnets`)
  }
  const services = blocks.flatMap(({ body }) => textsOf(itemsOf(body['service_name'])))
  const endpoints = all('aws_vpc_endpoint').length > 0 || services.length > 0
  report.expect(endpoints, 'endpoints', 'endpoints of AWS in the VPC')
  return report.findings
}
