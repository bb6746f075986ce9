/** Rules by country, over a real database file. */
import { createRequire } from 'node:module'
import t from 'tap'
import { createGeoRules, openCountryDatabase } from '../src/inspect/geo.ts'

const require = createRequire(import.meta.url)
const file =
  require.resolve('@ip-location-db/geo-whois-asn-country-mmdb/geo-whois-asn-country.mmdb')
const ADDRESSES = { US: '8.8.8.8', AU: '1.1.1.1', FR: '2001:660::1' }
const INVALID = 'PARAPET_ANOMALY_GUARD_INVALID_ARGUMENT'

await t.test('the country of an address is found, of IPv4 and IPv6', async (t) => {
  const lookup = await openCountryDatabase(file)
  for (const [country, address] of Object.entries(ADDRESSES)) {
    t.equal(lookup.countryOf(address), country)
  }
  for (const none of ['127.0.0.1', '10.0.0.1', 'nonsense', '', '/run/app.sock']) {
    t.equal(lookup.countryOf(none), undefined, `"${none}"`)
  }
})

await t.test('rules allow and deny by country, and deny wins', async (t) => {
  const lookup = await openCountryDatabase(file)
  const { US, AU } = ADDRESSES
  const decide = (rules: Parameters<typeof createGeoRules>[0]) => {
    const decision = createGeoRules(rules, lookup)
    return [US, AU, '127.0.0.1'].map((address) => decision(address).allowed)
  }
  t.same(decide({ deny: ['US'] }), [false, true, true], 'an unknown country is not denied')
  t.same(decide({ allow: ['US'] }), [true, false, false], 'an unknown country is not allowed')
  t.same(decide({ allow: ['US', 'AU'], deny: ['AU'] }), [true, false, false])
  t.same(decide({ allow: ['US'], unknown: 'allow' }), [true, false, true])
  t.same(decide({ deny: ['US'], unknown: 'deny' }), [false, true, false])
  t.equal(createGeoRules({ deny: ['US'] }, lookup)(US).country, 'US')
})

await t.test('rules without sense and files without a database are refused', async (t) => {
  const lookup = { countryOf: () => undefined }
  t.throws(() => createGeoRules({}, lookup), { code: INVALID })
  for (const code of ['us', 'USA', '', 'U1']) {
    t.throws(() => createGeoRules({ deny: [code] }, lookup), { code: INVALID }, code)
  }
  await t.rejects(openCountryDatabase('/nowhere/at/all.mmdb'), { code: INVALID })
  await t.rejects(openCountryDatabase(import.meta.filename), { code: INVALID })
})
