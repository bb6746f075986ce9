/** A chart over time, by uPlot. Its colours are those of the theme. */
import { useEffect, useRef, useState } from 'preact/hooks'
import uPlot from 'uplot'
import { useTheme } from './use-theme.ts'

/** One series. */
export interface ChartSeries {
  readonly label: string
  /** The name of a custom property. */
  readonly color: string
  readonly kind: 'bar' | 'line' | 'area'
  readonly values: readonly (number | null)[]
  /** Where it is drawn, for stacked bars; the readout shows `values`. */
  readonly drawn?: readonly (number | null)[]
}

/** What a chart shows. */
export interface ChartProps {
  /** For a screen reader: what is shown, and the numbers that matter. */
  readonly summary: string
  /** Milliseconds. */
  readonly times: readonly number[]
  readonly series: readonly ChartSeries[]
  readonly format: (value: number | null) => string
  readonly height: number
}

/** So that the first and the last bar are whole. */
const MARGIN_SECONDS = 30

const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' })

/** A chart with a line that says what is under the pointer, the latest without one. */
export function TimeChart({ summary, times, series, format, height }: ChartProps) {
  const box = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot>()
  const [index, setIndex] = useState<number | null>(null)
  const theme = useTheme()

  useEffect(() => {
    const element = box.current!
    const options = createOptions(element, series, format, height, setIndex)
    const created = new uPlot(options, toData(times, series), element)
    plot.current = created
    const observer = new ResizeObserver(([entry]) => {
      created.setSize({ width: Math.floor(entry!.contentRect.width), height })
    })
    observer.observe(element)
    return () => {
      observer.disconnect()
      created.destroy()
    }
    // New data does not need a new chart; another theme does.
  }, [theme, height])
  useEffect(() => plot.current?.setData(toData(times, series)), [times, series])

  const at = index ?? times.length - 1
  const time = times[at]
  return (
    <div class="chart">
      <p class="chart-readout" aria-hidden="true">
        <span class="chart-time">{time === undefined ? '–' : clock.format(time)}</span>
        {series.map(({ label, color, values }) => (
          <span key={label} class={`key key-${color}`}>
            {label} <b>{format(values[at] ?? null)}</b>
          </span>
        ))}
      </p>
      <div ref={box} class="chart-box" role="img" aria-label={summary} />
    </div>
  )
}

function toData(times: readonly number[], series: readonly ChartSeries[]): uPlot.AlignedData {
  const seconds = times.map((time) => time / 1000)
  return [seconds, ...series.map(({ values, drawn }) => [...(drawn ?? values)])]
}

function createOptions(
  element: HTMLElement,
  series: readonly ChartSeries[],
  format: ChartProps['format'],
  height: number,
  onIndex: (index: number | null) => void,
): uPlot.Options {
  const style = getComputedStyle(element)
  const color = (name: string): string => style.getPropertyValue(`--${name}`).trim()
  const font = `11px ${style.fontFamily}`
  const axis = { stroke: color('muted'), font, ticks: { show: false } }
  const bars = uPlot.paths.bars!({ size: [0.72, 14], radius: 0.18 })
  return {
    width: Math.max(200, Math.floor(element.clientWidth)),
    height,
    legend: { show: false },
    padding: [8, 14, 0, 0],
    cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
    scales: {
      x: { range: (_plot, min, max) => [min - MARGIN_SECONDS, max + MARGIN_SECONDS] },
      y: { range: (_plot, _min, max) => [0, Math.max(max * 1.08, 1)] },
    },
    axes: [
      {
        ...axis,
        grid: { show: false },
        size: 26,
        space: 72,
        values: (_plot, at) => at.map(formatTick),
      },
      {
        ...axis,
        size: 52,
        space: 36,
        gap: 8,
        grid: { stroke: color('grid'), width: 1 },
        values: (_plot, at) => at.map((value) => format(value)),
      },
    ],
    series: [
      {},
      ...series.map(({ label, color: name, kind }) => ({
        label,
        stroke: color(name),
        width: kind === 'bar' ? 0 : 1.6,
        // The first value of a new server has no line, and would not be seen.
        points: { show: kind !== 'bar', size: 5, fill: color(name), filter: findOnly },
        spanGaps: true,
        ...(kind === 'bar' ? { fill: color(name), paths: bars } : {}),
        ...(kind === 'area' ? { fill: color(`${name}-soft`) } : {}),
      })),
    ],
    hooks: { setCursor: [({ cursor }) => onIndex(cursor.idx ?? null)] },
  }
}

/** The value, if there is only one. */
const findOnly: uPlot.Series.Points.Filter = ({ data }, series) => {
  const known = [...data[series]!.entries()].filter(([, value]) => value !== null)
  return known.length === 1 ? known.map(([index]) => index) : []
}

function formatTick(seconds: number): string {
  return clock.format(seconds * 1000)
}

/** A line without axes, for a tile. */
export function Sparkline({
  values,
  color,
}: {
  readonly values: readonly number[]
  readonly color: string
}) {
  const width = 120
  const height = 32
  const most = Math.max(1, ...values)
  const points = values.map((value, index) => {
    const x = values.length < 2 ? 0 : (index / (values.length - 1)) * width
    return `${x.toFixed(1)},${(height - 2 - (value / most) * (height - 4)).toFixed(1)}`
  })
  return (
    <svg
      class={`spark spark-${color}`}
      viewBox={`0 0 ${width} ${height}`}
      preserveAspectRatio="none"
      aria-hidden="true"
    >
      {points.length > 1 && (
        <>
          <path class="spark-area" d={`M0,${height} L${points.join(' L')} L${width},${height} Z`} />
          <path class="spark-line" d={`M${points.join(' L')}`} />
        </>
      )}
    </svg>
  )
}
