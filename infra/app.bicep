// The app on a Flex Consumption plan, and its settings.
param location string
param tags object
param token string

@description('The identity of the app: its resource id, and its client id.')
param identityId string
param clientId string
param storageName string
param insightsName string

@description('The registries that may deliver, as ACR_REGISTRIES lists them.')
param registries string[]

@description('The value of ACR_WEBHOOKS. Empty: nothing is recovered.')
param webhooks string
param reconcileSchedule string
param alwaysReadyInstances int
param maximumInstances int
param httpConcurrency int
param instanceMemoryMB int
param siteUpdateStrategy string
param zoneRedundant bool

@description('The subnet that the app runs in. Empty: none.')
param subnetId string
param restrictInbound bool
param allowedIps array
param appSettings object

resource storage 'Microsoft.Storage/storageAccounts@2025-08-01' existing = {
  name: storageName
}

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  name: 'plan-${token}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
    zoneRedundant: zoneRedundant
  }
}

resource app 'Microsoft.Web/sites@2025-03-01' = {
  name: 'func-${token}'
  location: location
  tags: union(tags, { 'azd-service-name': 'app' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    siteConfig: {
      minTlsVersion: '1.2'
      http20Enabled: true
      ftpsState: 'Disabled'
      ipSecurityRestrictionsDefaultAction: restrictInbound ? 'Deny' : 'Allow'
      ipSecurityRestrictions: restrictInbound
        ? concat(
            [
              {
                name: 'registries'
                priority: 100
                action: 'Allow'
                tag: 'ServiceTag'
                ipAddress: 'AzureContainerRegistry'
              }
            ],
            map(range(0, length(allowedIps)), index => {
              name: 'allowed-${index + 1}'
              priority: 200 + index
              action: 'Allow'
              tag: 'Default'
              ipAddress: contains(allowedIps[index], '/') ? allowedIps[index] : '${allowedIps[index]}/32'
            })
          )
        : []
      // Deployments reach their endpoint whatever the app accepts.
      scmIpSecurityRestrictionsUseMain: false
      scmIpSecurityRestrictionsDefaultAction: 'Allow'
    }
    functionAppConfig: {
      runtime: {
        name: 'python'
        version: trim(loadTextContent('../.python-version'))
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstances
        alwaysReady: alwaysReadyInstances > 0 ? [{ name: 'http', instanceCount: alwaysReadyInstances }] : []
        triggers: {
          http: {
            perInstanceConcurrency: httpConcurrency
          }
        }
      }
      // The types of no API version have this property yet:
      // https://learn.microsoft.com/azure/azure-functions/flex-consumption-site-updates
      #disable-next-line BCP037
      siteUpdateStrategy: {
        type: siteUpdateStrategy
      }
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${storage.properties.primaryEndpoints.blob}packages'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
    }
  }

  resource settings 'config' = {
    name: 'appsettings'
    properties: union(
      {
        AzureWebJobsStorage__blobServiceUri: storage.properties.primaryEndpoints.blob
        AzureWebJobsStorage__credential: 'managedidentity'
        AzureWebJobsStorage__clientId: clientId
        AcrEventsStorage__queueServiceUri: storage.properties.primaryEndpoints.queue
        AcrEventsStorage__tableServiceUri: storage.properties.primaryEndpoints.table
        AcrEventsStorage__credential: 'managedidentity'
        AcrEventsStorage__clientId: clientId
        AcrManagement__endpoint: environment().resourceManager
        AcrManagement__credential: 'managedidentity'
        AcrManagement__clientId: clientId
        AcrReconcileSchedule: reconcileSchedule
        ACR_REGISTRIES: join(registries, ',')
        ACR_WEBHOOKS: webhooks
        // Names the component and its location. To write there takes the role of the identity.
        APPLICATIONINSIGHTS_CONNECTION_STRING: insights.properties.ConnectionString
        APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'Authorization=AAD;ClientId=${clientId}'
      },
      appSettings
    )
  }

  // Deployments sign in with Microsoft Entra ID, never with a password.
  resource ftp 'basicPublishingCredentialsPolicies' = {
    name: 'ftp'
    properties: {
      allow: false
    }
    // One after the other: the platform refuses two changes of a site at a time.
    dependsOn: [settings]
  }

  resource scm 'basicPublishingCredentialsPolicies' = {
    name: 'scm'
    properties: {
      allow: false
    }
    dependsOn: [ftp]
  }
}

output name string = app.name
output functionId string = '${app.id}/functions/AcrWebhook'
output functionUrl string = 'https://${app.properties.defaultHostName}/api/AcrWebhook'
