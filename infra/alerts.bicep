// The alert rules of alerts.json over the app's log, and the workbook.
param location string = resourceGroup().location
param tags object = {}

@description('The Application Insights component with the log of the app.')
param insightsName string

@description('The e-mail address that gets the alerts. Empty: nobody.')
param email string = ''

@description('Thresholds that replace those in alerts.json, by the name of the alert. -1 turns the alert off.')
param thresholds object = {}

// Without any(), the types here would depend on the content of the file.
var rules = any(loadJsonContent('alerts.json'))

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

resource recipients 'Microsoft.Insights/actionGroups@2023-01-01' = if (!empty(email)) {
  name: 'acr-webhook-${insightsName}'
  location: 'global'
  tags: tags
  properties: {
    enabled: true
    groupShortName: 'acr-webhook'
    emailReceivers: [
      {
        name: 'operator'
        emailAddress: email
        useCommonAlertSchema: true
      }
    ]
  }
}

// Limits of these rules: https://learn.microsoft.com/azure/azure-monitor/service-limits
resource alerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for rule in rules: {
    name: 'acr-webhook-${rule.name}-${insightsName}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: rule.title
      description: rule.description
      severity: rule.severity
      enabled: (thresholds[?rule.name] ?? rule.threshold) >= 0
      scopes: [insights.id]
      evaluationFrequency: 'PT5M'
      windowSize: 'PT${rule.minutes}M'
      autoMitigate: true
      // The component has no data at the first deployment.
      skipQueryValidation: true
      criteria: {
        allOf: [
          {
            query: join(rule.query, '\n')
            metricMeasureColumn: 'value'
            timeAggregation: 'Maximum'
            dimensions: contains(rule, 'dimension')
              ? [{ name: rule.dimension, operator: 'Include', values: ['*'] }]
              : []
            operator: rule.operator
            threshold: thresholds[?rule.name] ?? rule.threshold
            failingPeriods: {
              numberOfEvaluationPeriods: 1
              minFailingPeriodsToAlert: 1
            }
          }
        ]
      }
      actions: {
        actionGroups: empty(email) ? [] : [recipients.id]
      }
    }
  }
]

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(insights.id, 'workbook')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'Deliveries of Azure Container Registry'
    category: 'workbook'
    sourceId: insights.id
    serializedData: string(union(loadJsonContent('workbook.json'), { fallbackResourceIds: [insights.id] }))
  }
}
