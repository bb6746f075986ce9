/** The playbooks that come with the package, as YAML: copy one to change it. */
import { bruteForce } from './brute-force.ts'
import { accountTakeover } from './account-takeover.ts'
import { apiKeyCompromise } from './api-key-compromise.ts'
import { dataExfiltration } from './data-exfiltration.ts'
import { dataBreach } from './data-breach.ts'
import { denialOfService } from './denial-of-service.ts'
import { privilegeEscalation } from './privilege-escalation.ts'
import { tamperedAuditLog } from './tampered-audit-log.ts'
import { leakedSecret } from './leaked-secret.ts'

/** YAML by the name of the playbook. */
export const builtInPlaybooks: Readonly<Record<string, string>> = Object.freeze({
  brute_force: bruteForce,
  account_takeover: accountTakeover,
  api_key_compromise: apiKeyCompromise,
  data_exfiltration: dataExfiltration,
  data_breach: dataBreach,
  denial_of_service: denialOfService,
  privilege_escalation: privilegeEscalation,
  tampered_audit_log: tamperedAuditLog,
  leaked_secret: leakedSecret,
})
