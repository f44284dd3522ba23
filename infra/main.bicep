// The app with its storage and monitoring, in a resource group of its own, and the webhook on an
// existing registry.
targetScope = 'subscription'

@description('The name of this deployment. The resource group is named after it.')
@minLength(1)
@maxLength(64)
param environmentName string

@description('The location of the app. The location of the registry gives the shortest response times.')
@metadata({ azd: { type: 'location' } })
param location string

@description('The resource id of the registry: az acr show --name <registry> --query id --output tsv')
param registryId string

@description('Whether to create the webhook. False until the code is deployed: before, the function has no key that the webhook could send. azd up sets it.')
param createWebhook bool = false

@description('The name of the webhook: 5 to 50 letters and digits (https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules#microsoftcontainerregistry).')
@minLength(5)
@maxLength(50)
param webhookName string = 'acrwebhook'

@description('The actions for which the webhook sends deliveries.')
param webhookActions array = ['push', 'delete', 'quarantine', 'chart_push', 'chart_delete']

@description('The scope of the webhook: empty for all repositories and tags, <repository>:* or <repository>:<tag> for some.')
param webhookScope string = ''

@description('The name of the function key that the webhook sends.')
param keyName string = 'default'

@description('Whether to recover missed deliveries from the registry\'s delivery log. This creates a role on the registry.')
param recoverMissed bool = true

@description('When to recover missed deliveries, as NCRONTAB (https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions). If less often than every ten minutes, lower the threshold of the alert "unrecovered".')
param reconcileSchedule string = '0 */5 * * * *'

@description('Instances that are always ready for deliveries. The registry waits five seconds (reported), and a cold start can take longer: 0 is cheaper, but deliveries are lost until they are recovered.')
@minValue(0)
param alwaysReadyInstances int = 1

@description('The maximum number of instances (https://learn.microsoft.com/azure/azure-functions/flex-consumption-plan).')
@minValue(40)
@maxValue(1000)
param maximumInstances int = 100

@description('The memory of an instance in MB (https://learn.microsoft.com/azure/azure-functions/flex-consumption-plan).')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@description('More app settings, by name. They replace settings of the same name.')
param appSettings object = {}

@description('The e-mail address that gets the alerts. Empty: the portal alone shows them.')
param alertEmail string = ''

@description('Thresholds that replace those in alerts.json, by the name of the alert.')
param alertThresholds object = {}

@description('The object id of a user or group that may read the queues, replay and reconcile. Empty: nobody.')
param operatorId string = ''

var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = { 'azd-env-name': environmentName }
var registryPath = split(registryId, '/')
var registryName = last(registryPath)

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' existing = {
  name: registryName
  scope: resourceGroup(registryPath[2], registryPath[4])
}

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

module monitoring 'monitoring.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    token: token
  }
}

module app 'app.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    insightsName: monitoring.outputs.insightsName
    registryId: registryId
    loginServer: registry.properties.loginServer
    // Set from the start, because a later change would restart the app.
    webhookId: recoverMissed ? '${registryId}/webhooks/${webhookName}' : ''
    reconcileSchedule: reconcileSchedule
    alwaysReadyInstances: alwaysReadyInstances
    maximumInstances: maximumInstances
    instanceMemoryMB: instanceMemoryMB
    appSettings: appSettings
    operatorId: operatorId
  }
}

module alerts 'alerts.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    insightsName: monitoring.outputs.insightsName
    email: alertEmail
    thresholds: alertThresholds
  }
}

module record 'record.bicep' = if (recoverMissed) {
  scope: resourceGroup(registryPath[2], registryPath[4])
  params: {
    registryName: registryName
    principalId: app.outputs.principalId
    operatorId: operatorId
  }
}

module webhook 'webhook.bicep' = if (createWebhook) {
  scope: resourceGroup(registryPath[2], registryPath[4])
  params: {
    registryName: registryName
    location: registry.location
    name: webhookName
    actions: webhookActions
    repositories: webhookScope
    functionId: app.outputs.functionId
    keyName: keyName
    uri: '${app.outputs.functionUrl}?registry=${registry.properties.loginServer}'
  }
}

@description('The URL of the function, without a key.')
output FUNCTION_URL string = app.outputs.functionUrl

@description('The webhook, once it is created.')
output WEBHOOK_NAME string = createWebhook ? webhookName : ''

output AZURE_FUNCTION_APP_NAME string = app.outputs.name
output AZURE_RESOURCE_GROUP string = group.name
output AZURE_STORAGE_ACCOUNT_NAME string = app.outputs.storageName
