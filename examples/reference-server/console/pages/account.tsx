/** The own second factors: authenticator app, passkeys, backup codes. */
import { useState } from 'preact/hooks'
import { get, send } from '../api/client.ts'
import type { Factors } from '../api/types.ts'
import { createPasskey, hasPasskeys } from '../api/webauthn.ts'
import { ActionButton } from '../ui/action-button.tsx'
import { Ago, Day } from '../ui/moment.tsx'
import { notify } from '../ui/notices.tsx'
import { PageHead, Panel } from '../ui/panel.tsx'
import { Empty, Loaded } from '../ui/states.tsx'
import { toProblem, useResource } from '../ui/use-resource.ts'
import { BackupCodes } from './backup-codes.tsx'
import { EnrolApp } from './enrol-app.tsx'

/** The page. */
export function Account() {
  const factors = useResource(() => get<Factors>('/mfa'))
  const [isEnrolling, setEnrolling] = useState(false)
  const [codes, setCodes] = useState<readonly string[]>()
  return (
    <>
      <PageHead
        title="Your account"
        text="A second factor protects you, and everything that you may change here."
      />
      <Loaded resource={factors}>
        {(data) => (
          <div class="grid-panels">
            <Panel title="Authenticator app">
              <AppState
                factors={data}
                onEnrol={() => setEnrolling(true)}
                onChange={factors.reload}
              />
            </Panel>
            <Panel title="Passkeys">
              <Passkeys factors={data} onChange={factors.reload} />
            </Panel>
            <Panel title="Backup codes">
              <p class="pad">
                {data.enrolled
                  ? `${data.backupCodesLeft} codes are unused. Each signs you in once, if you lose your phone.`
                  : 'You get backup codes when you enrol an authenticator app.'}
              </p>
              {data.enrolled && (
                <div class="pad">
                  <ActionButton
                    confirm="The old codes no longer work."
                    run={async () => {
                      const made = await send<{ backupCodes: string[] }>(
                        'POST',
                        '/mfa/backup-codes',
                      )
                      setCodes(made.backupCodes)
                      factors.reload()
                    }}
                  >
                    Replace them
                  </ActionButton>
                </div>
              )}
            </Panel>
          </div>
        )}
      </Loaded>
      {isEnrolling && (
        <EnrolApp
          onClose={() => setEnrolling(false)}
          onDone={() => {
            setEnrolling(false)
            notify('The authenticator app is enrolled')
            factors.reload()
          }}
        />
      )}
      {codes && <BackupCodes codes={codes} onClose={() => setCodes(undefined)} />}
    </>
  )
}

function AppState({
  factors,
  onEnrol,
  onChange,
}: {
  readonly factors: Factors
  readonly onEnrol: () => void
  readonly onChange: () => void
}) {
  if (factors.totp === null) {
    return (
      <Empty
        icon="account"
        title="Not enrolled"
        text="Codes of an app on your phone, as the second step of the sign-in."
      >
        <button type="button" class="button button-primary" onClick={onEnrol}>
          Enrol an app
        </button>
      </Empty>
    )
  }
  return (
    <div class="pad stack">
      <p>
        <span class="tag tag-now">on</span> since <Day time={factors.totp.enrolledAt} />
        {factors.totpLocked && ', disabled after too many wrong codes'}
      </p>
      <div class="button-row">
        <button type="button" class="button" onClick={onEnrol}>
          Replace it
        </button>
        <ActionButton
          kind="quiet"
          done="The app is removed"
          confirm="Your account is then protected by its password and its passkeys alone."
          run={() => send('DELETE', '/mfa/totp').then(onChange)}
        >
          Remove it
        </ActionButton>
      </div>
    </div>
  )
}

function Passkeys({
  factors,
  onChange,
}: {
  readonly factors: Factors
  readonly onChange: () => void
}) {
  const add = async () => {
    const options = await send<object>('POST', '/mfa/passkeys/options')
    const response = await createPasskey(options)
    const name = `Passkey of ${new Date().toISOString().slice(0, 10)}`
    await send('POST', '/mfa/passkeys', { name, response })
    notify('The passkey is enrolled')
    onChange()
  }
  const button = hasPasskeys && (
    <ActionButton
      kind="primary"
      run={() => add().catch((reason: unknown) => Promise.reject(toProblem(reason)))}
    >
      Add a passkey
    </ActionButton>
  )
  if (factors.passkeys.length === 0) {
    return (
      <Empty
        icon="keys"
        title="No passkey"
        text="A passkey cannot be phished, and signs you in without a password."
      >
        {button}
      </Empty>
    )
  }
  return (
    <>
      <ul class="lines">
        {factors.passkeys.map(({ id, name, lastUsedAt }) => (
          <li key={id} class="line">
            <span class="line-main">
              {name}
              <span class="line-sub">
                last used <Ago time={lastUsedAt} />
              </span>
            </span>
            <ActionButton
              label={`Remove ${name}`}
              done="The passkey is removed"
              confirm="The passkey no longer signs you in."
              run={() => send('DELETE', `/mfa/passkeys/${encodeURIComponent(id)}`).then(onChange)}
            >
              Remove
            </ActionButton>
          </li>
        ))}
      </ul>
      <div class="pad">{button}</div>
    </>
  )
}
