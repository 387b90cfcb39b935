export type Theme = 'system' | 'light' | 'dark'

const KEY = 'upload-console.theme'

const isTheme = (value: string | null): value is Theme =>
  value === 'system' || value === 'light' || value === 'dark'

/**
 * The system's colours, unless somebody chose others here.
 * @param onChange told of the theme now, and whenever another is chosen
 */
export function useTheme(select: HTMLSelectElement, onChange: (theme: Theme) => void): void {
  const apply = (theme: Theme) => {
    if (theme === 'system') delete document.documentElement.dataset['theme']
    else document.documentElement.dataset['theme'] = theme
    onChange(theme)
  }
  const chosen = localStorage.getItem(KEY)
  select.value = isTheme(chosen) ? chosen : 'system'
  select.addEventListener('change', () => {
    if (!isTheme(select.value)) return
    localStorage.setItem(KEY, select.value)
    apply(select.value)
  })
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    if (select.value === 'system') apply('system')
  })
  apply(select.value as Theme)
}
