/**
 * The receipt of a consent, as JSON-LD.
 *
 * @see ISO/IEC TS 27560:2023; W3C DPV, https://w3id.org/dpv/schema/dpv-27560
 */
import type { Controller } from '../sources/processing-register.ts'
import type { ConsentBody } from './consents.ts'
import type { ConsentPurpose } from './purpose.ts'

const CONTEXT = {
  dct: 'http://purl.org/dc/terms/',
  dpv: 'https://w3id.org/dpv#',
  loc: 'https://w3id.org/dpv/loc#',
  xsd: 'http://www.w3.org/2001/XMLSchema#',
  schema: 'https://schema.org/',
} as const

const PROFILE = 'https://w3id.org/dpv/schema/dpv-27560'
const STATUS = {
  granted: 'dpv:ConsentGiven',
  refused: 'dpv:ConsentRefused',
  withdrawn: 'dpv:ConsentWithdrawn',
} as const

/** What a receipt is made of. */
export interface ConsentReceiptParts {
  readonly consent: ConsentBody
  readonly purpose: ConsentPurpose
  readonly controller: Controller
  /** The pseudonym of the subject. */
  readonly reference: string
  /** When the receipt is made, in milliseconds since the Unix epoch. */
  readonly createdAt: number
}

/** Makes the receipt. */
export function createConsentReceipt(parts: ConsentReceiptParts) {
  const { consent, controller, createdAt } = parts
  return {
    '@context': CONTEXT,
    '@id': `urn:uuid:${consent.id}#receipt`,
    '@type': 'dpv:ConsentReceipt',
    'dct:identifier': consent.id,
    'dct:conformsTo': `${PROFILE}#receipt`,
    'dct:created': dateOf(createdAt),
    'dct:publisher': controller.name,
    'schema:recipient': 'dpv:DataSubject',
    'dpv:hasRecordOfActivity': recordOf(parts),
  }
}

function recordOf({ consent, purpose, controller, reference }: ConsentReceiptParts) {
  const { id, version, noticeVersion, noticeHash } = consent
  const { name, contact, jurisdiction } = controller
  return {
    '@id': `urn:uuid:${id}`,
    '@type': 'dpv:ConsentRecord',
    'dct:identifier': id,
    'dct:conformsTo': `${PROFILE}#record`,
    'dct:hasVersion': String(version),
    'dpv:hasDataSubject': { '@id': `urn:parapet:subject:${reference}`, '@type': 'dpv:DataSubject' },
    'dpv:hasDataController': {
      '@type': 'dpv:DataController',
      'dpv:hasName': name,
      'dpv:hasContact': contact,
    },
    ...(jurisdiction !== undefined && { 'dpv:hasJurisdiction': `loc:${jurisdiction}` }),
    'dpv:hasProcess': {
      '@type': 'dpv:Process',
      'dpv:hasPurpose': {
        '@id': `urn:parapet:purpose:${consent.purpose}`,
        '@type': 'dpv:Purpose',
        'dct:title': purpose.title,
      },
      'dpv:hasPersonalData': [...(purpose.categories ?? [])],
      'dpv:hasLegalBasis': 'dpv:Consent',
    },
    'dpv:hasNotice': {
      '@type': 'dpv:ConsentNotice',
      'dct:hasVersion': noticeVersion,
      'schema:sha256': noticeHash,
    },
    'dpv:hasConsentStatus': [statusOf(consent)],
  }
}

function statusOf({ state, at, expiresAt, by }: ConsentBody) {
  return {
    '@type': STATUS[state],
    'dct:date': dateOf(at),
    'dpv:isIndicatedBy': by === 'subject' ? 'dpv:DataSubject' : `urn:parapet:by:${by}`,
    ...(expiresAt !== undefined && { 'dct:valid': dateOf(expiresAt) }),
  }
}

function dateOf(time: number) {
  return { '@type': 'xsd:dateTime', '@value': new Date(time).toISOString() }
}
